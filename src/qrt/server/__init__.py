"""HTTP: one model or several behind the interfaces that clients of others already speak."""
