"""The architectures, one file each, named as files name them: its class is `Architecture`."""
