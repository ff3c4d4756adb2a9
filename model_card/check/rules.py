"""Checks of what a card owes to others: licences, credit, scores with a protocol, no secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator

from model_card.check.card import ERROR, WARNING, CheckedCard, Finding
from model_card.licenses import NOTICE_PATH, POLICY_PATH, known_license, own_license, plain, terms
from model_card.records import RUN_PATH, bench_judgement_path
from model_card.render.judgement_tables import preferences

AIHUB = r"(?i)감성\s?대화\s?말뭉치|AI[\s-]?허브|AI[\s-]?Hub|aihub\.or\.kr"
SCORE = re.compile(
    r"(?i)\b(sacre)?bleu\b|\bchrf|\brouge|\bmeteor\b|\bbertscore\b|perplexity|\bppl\b|\bmmlu\b"
    r"|kobest|\bf1\b|accuracy|정확도|win[\s-]?rate|cosine|코사인"
)
WIN_RATE = re.compile(r"(?i)win[\s-]?rate|승률")
AGREEMENT = r"(?i)krippendorff|cohen|kappa|κ|inter-?(rater|annotator)|agree[sd]? with|일치"
NUMBER = re.compile(r"\d\.\d")
PROTOCOL = (
    r"(?i)\btok:|signature|sacrebleu|split\b|\b\d-shot|few-shot|zero-shot|greedy|do_sample"
    r"|temperature|lm-?eval|lighteval|harness|protocol|평가 방법|held-out|test set|시드|seed"
)
SECRETS = {
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}",
    "an AWS key": r"\bAKIA[0-9A-Z]{16}\b",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{30,}",
    "an API key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
MACHINE_PATH = r"(?<![\w./:])(/(home|Users|root|mnt|workspace|content|scratch)/[\w.-]+|[A-Z]:\\\w+)"
CORPUS_FIELDS = r"사람문장\s?\d|시스템(응답|문장)\s?\d|\b[HS]S0[1-4]\b|\bPro_\d{5}\b"
CORPUS_FILES = re.compile(r"(^|/)(samples\.parquet|(train|test|validation)\.jsonl)$")
# Code, message and remedy where a card lacks what `Terms.in_card` names.
_MISSING_LINE = {
    "Llama": (
        "llama-built-with",
        "“Built with Llama” does not stand in the card",
        "add it at the top",
    ),
    "Gemma": (
        "gemma-restrictions",
        "the card does not say that Gemma's use restrictions hold for this model too",
        "say so, and link https://ai.google.dev/gemma/prohibited_use_policy",
    ),
    "HyperCLOVA X": (
        "hyperclovax-powered-by",
        "“Powered by HyperCLOVA X” does not stand in the card",
        "add it at the top",
    ),
}
_ADDS = {
    "Llama": "kosent-card push copies it from the base model's repo",
    "Gemma": "kosent-card push adds it",
    "EXAONE": "kosent-card push copies it from the base model's repo",
    "HyperCLOVA X": "kosent-card push adds it",
}


def check_license(card: CheckedCard) -> Iterator[Finding]:
    """The card's licence against that of the base model."""
    stated = card.values("license")
    for base in map(str, card.values("base_model")):
        owed, own = known_license(base) or card.base_license(base), own_license(base)
        if owed is None:
            message = f"the licence of {base} is not known here, so it was not compared"
            remedy = "read it on the base model's page"
            yield Finding(card.line_of("base_model"), WARNING, "license-base", message, remedy)
            continue
        strict = own is not None or owed.startswith("llama") or owed == "gemma"
        if stated and owed not in stated and strict:
            yield Finding(
                card.line_of("license"),
                ERROR,
                "license-differs",
                f"license is {stated[0]}, but {base} is under {own.title if own else owed}, which "
                "what is made from it inherits",
                f"say license: {owed}" + (f", license_name: {own.name}" if own else ""),
            )


def check_terms(card: CheckedCard) -> Iterator[Finding]:
    """What `Terms` ask for: a name, a line, and files."""
    bases = list(map(str, card.values("base_model")))
    owed = [(known_license(base) or card.base_license(base), base) for base in bases]
    owed += [(str(value), "") for value in card.values("license")]
    asked = next((found for license_id, base in owed if (found := terms(license_id, base))), None)
    if asked is None:
        return
    # A push gives the repo its name and adds the files.
    level = ERROR if card.pushed else WARNING
    code = plain(asked.family).lower()
    name = card.name.split("/")[-1]
    if not asked.allow_name(name):
        message = f"{name}: the name of a model made from {asked.family} must begin with "
        message += f"“{asked.prefix}”"
        remedy = f"rename the repo, e.g. {plain(asked.prefix)}-{name}"
        yield Finding(1, level, f"{code}-name", message, remedy)
    if asked.in_card and card.first(re.escape(asked.in_card)) is None:
        yield Finding(card.body_line + 1, ERROR, *_MISSING_LINE[asked.family])
    if card.paths is None:
        return
    have = {path.lower() for path in card.paths}
    for path in (*asked.files, *([NOTICE_PATH] if asked.notice else [])):
        accepted = {path.lower(), f"{path.lower()}.txt", f"{path.lower()}.md"}
        if not accepted & have:
            url = asked.policy_url if path == POLICY_PATH else asked.license_url
            message = f"{path} is not in the repo; the {asked.family} licence wants it to go along"
            yield Finding(
                1, level, f"{code}-file", message, f"add it ({url}); {_ADDS[asked.family]}"
            )


def check_credit(card: CheckedCard) -> Iterator[Finding]:
    """Whether the data is named, and AI Hub's as AI Hub asks for it."""
    run = card.facts.run
    mention = card.first(AIHUB)
    if run.dataset.source == "aihub-86" if run is not None else mention:
        line = mention[0] if mention else card.body_line + 1
        wanted = {
            "NIA": r"NIA|한국지능정보사회진흥원|National Information Society Agency",
            "AI Hub's address": r"aihub\.or\.kr",
        }
        for what, pattern in wanted.items():
            if card.first(pattern) is None:
                message = f"the card uses AI Hub data but does not name {what}"
                remedy = "credit NIA's project and aihub.or.kr, as AI Hub's terms ask"
                yield Finding(line, ERROR, "credit-aihub", message, remedy)
    for dataset in map(str, card.values("datasets")):
        if dataset not in card.body:
            message = f"{dataset} stands in the metadata only"
            remedy = "say in the text what it is and who made it"
            yield Finding(card.line_of("datasets"), WARNING, "credit-dataset", message, remedy)


def check_scores(card: CheckedCard) -> Iterator[Finding]:
    """Scores that cannot be reproduced, because the card does not say how they were measured."""
    scored = [block for block in _blocks(card) if any(NUMBER.search(line) for _, line in block)]
    lines = [(number, line) for block in scored for number, line in block if SCORE.search(line)]
    if lines and card.first(PROTOCOL) is None:
        message = "scores without a word on how they were measured"
        remedy = "add the split, the prompt and generation settings, and each metric's signature"
        yield Finding(lines[0][0], ERROR, "score-protocol", message, remedy)
    bleu = [number for number, line in lines if re.search(r"(?i)\bbleu\b", line)]
    if bleu and card.first(r"(?i)\btok:|sacrebleu|mecab|tokeni[sz]e|토크나이|형태소") is None:
        message = "BLEU without its tokenizer compares with nothing, in Korean least of all"
        yield Finding(bleu[0], WARNING, "score-bleu", message, "print sacreBLEU's signature")


def check_judges(card: CheckedCard) -> Iterator[Finding]:
    """Win rates of which the card does not say how far their judges are to be believed, and judged
    replies that no evaluation shows."""
    told = [
        number
        for block in _blocks(card)
        if any(NUMBER.search(line) for _, line in block)
        for number, line in block
        if WIN_RATE.search(line)
    ]
    unknown = any(preferences(found) and not found.agreement for found in card.facts.judgements)
    if told and (unknown or card.first(AGREEMENT) is None):
        message = "win rates without a word on how far their judges agree, with people above all"
        remedy = "say who judged, how many, and their agreement (alpha, kappa)"
        yield Finding(told[0], WARNING, "win-rate-agreement", message, remedy)
    for found in card.facts.bench_judgements:
        if not any(found.is_of(results) for results in card.facts.results):
            message = f"{bench_judgement_path(found)} is of an evaluation that is not recorded here"
            remedy = "kosent-judge bench DIR --run RUN again, or delete it"
            yield Finding(card.body_line + 1, WARNING, "bench-judged-other", message, remedy)


def _blocks(card: CheckedCard) -> Iterator[list[tuple[int, str]]]:
    """The prose in blocks (paragraphs, tables): a table has metric and number on two lines."""
    block: list[tuple[int, str]] = []
    for number, line in [*card.prose, (0, "")]:
        if line.strip():
            block.append((number, line))
        elif block:
            yield block
            block = []


def check_limits(card: CheckedCard) -> Iterator[Finding]:
    """Whether the card states limits, and a help line where people may look for comfort."""
    limits = r"(?i)^\s*(#+|\*\*).*(limit|out-of-scope|risk|bias|intended use|한계|주의|쓰임|제한)"
    if card.first(limits) is None:
        message = "nothing on what the model must not be used for, nor on its limits"
        yield Finding(card.body_line + 1, WARNING, "limits-missing", message, "add such a section")
    caring = r"(?i)mental health|counsel|therap|depress|empath|공감|상담|우울|마음\s?건강"
    help_lines = r"(?<!\d)(109|988)(?!\d)|1577-0199|helpline|hotline|crisis line|상담\s?전화"
    mention = card.first(caring)
    if mention and card.first(help_lines) is None:
        message = "a model that people may tell their troubles to, without a help line"
        remedy = "name one, e.g. 109 and 1577-0199 in Korea"
        yield Finding(mention[0], WARNING, "help-missing", message, remedy)


def check_secrets(card: CheckedCard) -> Iterator[Finding]:
    """Secrets and a machine's paths, in the card and in run.json."""
    texts = [("", card.text)]
    if card.paths is not None and RUN_PATH in card.paths:
        record = (card.read(RUN_PATH) or b"").decode("utf-8", "replace")
        texts.append((f"{RUN_PATH}: ", record))
    for where, text in texts:
        for number, line in enumerate(text.splitlines(), start=1):
            at = 1 if where else number
            for what, pattern in SECRETS.items():
                if re.search(pattern, line):
                    remedy = "revoke it now, then take it out; the history keeps it"
                    yield Finding(at, ERROR, "secret", f"{where}{what}", remedy)
            if path := re.search(MACHINE_PATH, line):
                message = f"{where}the path of somebody's machine: {path[0][:40]}…"
                yield Finding(at, ERROR, "machine-path", message, "say it without that path")


def check_corpus(card: CheckedCard) -> Iterator[Finding]:
    """Corpus rows in the card, and corpus files beside it."""
    remedy = "take it out: AI Hub's data may not be passed on, and the history keeps it"
    for line, text in card.prose:
        if found := re.search(CORPUS_FIELDS, text):
            message = f"looks like a row of the corpus ({found[0]})"
            yield Finding(line, ERROR, "corpus-text", message, remedy)
    for path in sorted(card.paths or ()):
        if CORPUS_FILES.search(path):
            yield Finding(1, ERROR, "corpus-file", f"{path} holds corpus text", remedy)


def check_against(card: CheckedCard, corpus: frozenset[str]) -> Iterator[Finding]:
    """Utterances of `corpus` that are anywhere in the card."""
    plain = " ".join(card.text.split())
    for utterance in sorted(text for text in corpus if text in plain):
        words = utterance.split()
        lines = card.text.splitlines()
        line = next((n for n, text in enumerate(lines, 1) if words[0] in text), 1)
        message = f"a sentence of the corpus ({len(utterance)} characters)"
        remedy = "take it out: AI Hub's data may not be passed on"
        yield Finding(line, ERROR, "corpus-text", message, remedy)
