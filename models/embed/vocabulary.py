"""The WordPiece vocabulary: common pieces, then the library's most used words, each one token."""

from __future__ import annotations

import re
from collections import Counter

from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import WordPiece

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(len(SPECIAL))
N_VOCAB, N_PIECES, N_INNER = 8192, 2600, 900
PARTS = re.compile(r"\b[A-Za-z]*[a-z][A-Z][A-Za-z]*\b")
NORMALIZER = normalizers.BertNormalizer(lowercase=True)
WORDS = pre_tokenizers.BertPreTokenizer()


def words_of(text: str) -> list[str]:
    """The words of a text as BERT's rules make them."""
    return [word for word, _ in WORDS.pre_tokenize_str(NORMALIZER.normalize_str(text))]


def tokenizer(vocab: dict[str, int], max_tokens: int) -> Tokenizer:
    """A tokenizer that puts [CLS] before a text and [SEP] behind it, and pads to the longest."""
    found = Tokenizer(WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=10_000))
    found.normalizer, found.pre_tokenizer = NORMALIZER, WORDS
    found.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    found.enable_truncation(max_tokens)
    found.enable_padding(pad_id=PAD, pad_token="[PAD]")
    return found


def vocabulary(weighted: dict[int, list[str]]) -> list[str]:
    """N_VOCAB pieces from texts by the weight that their words have; those inside words begin with
    ##."""
    counts: Counter[str] = Counter()
    inner: Counter[str] = Counter()
    for weight, texts in weighted.items():
        for text in texts:
            for word in words_of(text):
                counts[word] += weight
            for name in PARTS.findall(text):
                for part in re.findall(r"[A-Z][a-z]+|[A-Z]+(?![a-z])", name)[1:]:
                    inner[f"##{part.lower()}"] += weight
    trained = Tokenizer(WordPiece(unk_token="[UNK]"))
    trained.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=N_PIECES, special_tokens=list(SPECIAL), show_progress=False, limit_alphabet=200
    )
    by_count = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    common = [word for word, n in by_count for _ in range(min(n, 50)) if word.isascii()]
    trained.train_from_iterator(common, trainer)
    learned = sorted(trained.get_vocab().items(), key=lambda item: item[1])
    pieces = dict.fromkeys(piece for piece, _ in learned)
    pieces.update(dict.fromkeys(piece for piece, _ in inner.most_common(N_INNER)))
    for word, _ in by_count:
        if len(pieces) == N_VOCAB:
            break
        if word.isascii() and not re.search(r"\d{2}", word):
            pieces[word] = None
    return list(pieces)
