"""A tokenizer.model out of a tokenizer.json, for the families that the converter reads one of.

Without that file the converter writes Gemma's tokenizer as byte-level BPE, which it is not, and
transformers cannot open it again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_SPACES = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}


def write_sentencepiece(folder: Path) -> bool:
    """Whether `folder` now has a tokenizer.model that this function wrote.

    It does for BPE with bytes for what it does not know, whose only normalisation is ▁ for a space;
    any other tokenizer, and a folder that has the file, is left to the converter. A token's score
    is the negative rank of the first merge that makes it.
    """
    source, target = folder / "tokenizer.json", folder / "tokenizer.model"
    if target.exists() or not source.is_file():
        return False
    settings = json.loads(source.read_text(encoding="utf-8"))
    model = settings["model"]
    if not (model.get("byte_fallback") and settings.get("normalizer") == _SPACES):
        return False
    target.write_bytes(_proto(model, settings["added_tokens"]))
    # Which tokens are never split: sentencepiece does not tell the converter.
    config = folder / "tokenizer_config.json"
    written = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    written["added_tokens_decoder"] = {
        str(token["id"]): {key: token[key] for key in ("content", "special", "normalized")}
        for token in settings["added_tokens"]
    }
    config.write_text(json.dumps(written, ensure_ascii=False), encoding="utf-8")
    return True


def _proto(model: dict[str, Any], added: list[dict[str, Any]]) -> bytes:
    """SentencePiece's own form of the vocabulary; see its sentencepiece_model.proto."""
    from transformers.utils import sentencepiece_model_pb2_new

    spm: Any = sentencepiece_model_pb2_new
    ranks: dict[str, int] = {}
    for pair in model["merges"]:
        left, right = pair if isinstance(pair, list) else pair.split(" ")
        ranks.setdefault(left + right, len(ranks))
    special = {token["content"]: token["special"] for token in added}
    proto = spm.ModelProto()
    proto.trainer_spec.model_type = spm.TrainerSpec.ModelType.BPE
    proto.trainer_spec.byte_fallback = True
    proto.normalizer_spec.name = "identity"
    proto.normalizer_spec.add_dummy_prefix = False
    proto.normalizer_spec.remove_extra_whitespaces = False
    for token, number in sorted(model["vocab"].items(), key=lambda item: item[1]):
        piece = proto.pieces.add(piece=token)
        if token == model["unk_token"]:
            piece.type = piece.UNKNOWN
        elif token in special:
            piece.type = piece.CONTROL if special[token] else piece.USER_DEFINED
        elif len(token) == 6 and token.startswith("<0x"):
            piece.type = piece.BYTE
        else:
            piece.score = -float(ranks.get(token, len(ranks) + number))
    return proto.SerializeToString()
