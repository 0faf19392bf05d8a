// The options of sampling that the settings show: a row each.

/** name in a request, words, least, most, step, what it does. */
export const SAMPLERS = [
  ["temperature", "Temperature", 0, 5, 0.01, "Higher is more surprising, 0 always takes the likeliest token."],
  ["top_k", "Top k", 0, 1000, 1, "Chooses among so many of the likeliest tokens; 0: among all."],
  ["top_p", "Top p", 0, 1, 0.01, "Chooses among the likeliest tokens that together reach this probability."],
  ["min_p", "Min p", 0, 1, 0.001, "Leaves out tokens less likely than this share of the likeliest."],
  ["repeat_penalty", "Repeat penalty", 0, 3, 0.01, "Above 1, tokens said lately become less likely."],
  ["max_tokens", "Longest answer", 1, 1_000_000, 1, "In tokens. Empty: until the model ends."],
  ["seed", "Seed", 0, 4_294_967_295, 1, "The same seed gives the same answer. Empty: a fresh one each time."],
];

export const MORE_SAMPLERS = [
  ["presence_penalty", "Presence penalty", -2, 2, 0.01, "Makes tokens that were said less likely, however often."],
  ["frequency_penalty", "Frequency penalty", -2, 2, 0.01, "Makes tokens less likely each time they were said."],
  ["typical_p", "Typical p", 0, 1, 0.01, "Chooses among tokens about as surprising as is to be expected."],
  ["top_n_sigma", "Top n sigma", -1, 10, 0.1, "Chooses among tokens whose logits are so many deviations from the highest."],
  ["xtc_probability", "XTC probability", 0, 1, 0.01, "How often the likeliest choices are left out."],
  ["xtc_threshold", "XTC threshold", 0, 1, 0.01, "The probability from which XTC leaves choices out."],
  ["dry_multiplier", "DRY multiplier", 0, 10, 0.01, "Above 0, sequences said before become less likely."],
  ["mirostat", "Mirostat", 0, 2, 1, "1 or 2: keeps the surprise of the text even."],
];
