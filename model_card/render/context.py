"""Everything a card's template names, written in one language."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from model_card.facts import ADAPTER, FINETUNE, Facts
from model_card.licenses import LICENSE_NAMES, LLAMA_FILES, NOTICE_PATH, llama
from model_card.publishing.markdown import Markdown, code, escape, fenced, hub_link
from model_card.records import PLOTS_FOLDER, RUN_PATH, EvaluatedModel, Repo, Run
from model_card.render.curves import read_curve, read_validation
from model_card.render.labels import KO, count, duration, fixed, percent, short
from model_card.render.plots import TRAINING, series
from model_card.render.snippets import install, llama_cpp, snippet, vllm, wrapped
from model_card.render.tables import (
    conversation_table,
    emotion_table,
    headline_table,
    meaning_list,
    overview_table,
    pairs,
    reference_table,
    score_table,
    word,
)
from model_card.render.view import Evaluation, evaluation


def context(facts: Facts, repo_id: str | None, lang: str, *, both: bool) -> dict[str, Any]:
    """Everything a template names, written in that language."""
    evaluations = [evaluation(results, lang) for results in facts.results]
    shared: dict[str, Any] = {
        "both": both,
        "run": facts.run,
        "name": name_of(facts, repo_id),
        "evaluations": evaluations,
        "best": _best(evaluations),
        "conversations": facts.conversations,
        "code": code,
        "count": count,
        "fixed": fixed,
        "percent": percent,
        "short": short,
        "fenced": fenced,
        "wrapped": wrapped,
        "json": partial(json.dumps, ensure_ascii=False),
        "duration": partial(duration, language=lang),
        "pairs": lambda rows: pairs([row for row in rows if row[1] != ""], lang),
        "conversation_table": partial(conversation_table, language=lang),
        "references": lambda e: reference_table(e.references, lang),
        "emotions": lambda e: emotion_table(e.emotions, lang),
        "headline": lambda e: headline_table(e, _base_label(facts, e, lang), lang),
        "scores": lambda e, rows: score_table(e, rows, _base_label(facts, e, lang), lang),
        "overview": partial(overview_table, language=lang),
        "meanings": meaning_list,
        "model_at": _evaluated_model,
        "versions": lambda r: ", ".join(f"{name} {v}" for name, v in sorted(r.versions.items())),
        "evaluated_on": lambda r: _repo_at(
            Repo(r.dataset.id, r.dataset.revision, r.dataset.local), lang, "datasets/"
        ),
    }
    if facts.run is None:
        return shared
    safeties = [e for e in evaluations if e.safety]
    return shared | {"safeties": safeties} | _run_context(facts, facts.run, repo_id, lang)


def _run_context(facts: Facts, run: Run, repo_id: str | None, lang: str) -> dict[str, Any]:
    ko = lang == KO
    log = facts.log_history
    rates = [rate for _, rate in series(log, "learning_rate")]
    system_prompt = run.system_prompt or next(
        (r.protocol.system_prompt for r in facts.results if r.protocol.system_prompt), None
    )
    terms = llama(facts.license)
    dataset = Repo(run.dataset.id, run.dataset.revision, run.dataset.local)
    return {
        "base": hub_link(run.base_model.id),
        "base_at": _repo_at(run.base_model, lang),
        "dataset": _repo_link(replace(dataset, revision=None), "datasets/"),
        "dataset_at": _repo_at(dataset, lang, "datasets/"),
        "corpus": _corpus(run, ko),
        "short_dialogues": run.dataset.source in ("aihub-86", "kosent-sample"),
        "kind": _kind(facts, run, ko),
        "splits": ", ".join(f"{name} {count(rows)}" for name, rows in run.dataset.rows.items()),
        "method": _method(run, ko),
        "parameters": _parameters(run, ko),
        "hardware": run.hardware.device
        + (f" × {run.hardware.processes}" if run.hardware.processes > 1 else ""),
        "pictures": _pictures(log, ko),
        "loss": read_curve(log, "loss"),
        "accuracy": read_curve(log, "mean_token_accuracy"),
        "validation": read_validation(log),
        "rate": (max(rates), rates[-1]) if rates else None,
        "system_prompt": system_prompt,
        "install": install(facts.relation),
        "snippet": snippet(facts.relation, repo_id or run.model_name, run, system_prompt),
        "vllm": vllm(facts.relation, repo_id, run),
        "llama_cpp": llama_cpp(facts.paths, repo_id),
        "llama": terms,
        "llama_files": _llama_files(facts, ko) if terms else None,
        "license_link": _license_link(facts.license),
        "citation": _citation(run, repo_id),
        "reproducibility": _reproducibility(facts, run, lang),
    }


def _repo_at(repo: Repo, language: str, kind: str = "") -> Markdown:
    """A link to a repo at its commit, or the folder's name and that its revision is unknown."""
    link = _repo_link(repo, kind)
    if repo.local:
        note = (
            "로컬 폴더에서 읽음, 리비전 모름"
            if language == KO
            else "read from a local folder, revision unknown"
        )
        return Markdown(f"{link} ({note})")
    return Markdown(f"{link} @ {code(repo.revision[:12])}") if repo.revision else link


def _repo_link(repo: Repo, kind: str) -> Markdown:
    # A local base keeps the Hub id it was downloaded under; a local dataset has none.
    if repo.local and kind:
        return code(repo.id)
    return hub_link(repo.id, kind, None if repo.local else repo.revision)


def _evaluated_model(model: EvaluatedModel) -> Markdown:
    link = _repo_link(Repo(model.id, model.revision, model.local), "")
    return Markdown(f"{link} @ {code(model.revision[:12])}") if model.revision else link


def name_of(facts: Facts, repo_id: str | None) -> str:
    """The model's name: the repo's, else the run's, else that of the model evaluated."""
    if repo_id is not None:
        return repo_id.split("/")[-1]
    if facts.run is not None:
        return facts.run.model_name
    return facts.results[0].model.id.split("/")[-1] if facts.results else "model"


def _best(evaluations: list[Evaluation]) -> Evaluation | None:
    """The evaluation for the head: with a baseline, at the default settings, the largest."""
    return max(
        evaluations,
        key=lambda e: (
            e.record.baseline is not None,
            not e.record.settings,
            e.record.dataset.samples,
        ),
        default=None,
    )


def _base_label(facts: Facts, shown: Evaluation, lang: str) -> str:
    baseline = shown.record.baseline
    base = facts.run.base_model.id if facts.run else shown.record.model.base_model
    same = baseline is not None and baseline.model.id == base
    return word("base" if same else "compared", lang)


def _corpus(run: Run, ko: bool) -> str:
    names = {
        "aihub-86": ("AI 허브 감성 대화 말뭉치", "AI Hub's Korean Emotional Dialogue Corpus"),
        "kosent-sample": (
            "연습용으로 지어낸 감성 대화",
            "emotional dialogues made up for practice",
        ),
    }
    return names.get(run.dataset.source or "", ("대화 데이터", "a dialogue dataset"))[not ko]


def _kind(facts: Facts, run: Run, ko: bool) -> tuple[str, str]:
    """What the repo holds: in English what stands before the base's name, and after the data's."""
    if facts.relation == ADAPTER:
        return ("어댑터(LoRA)", "") if ko else ("A LoRA adapter for", "")
    if facts.relation == FINETUNE:
        merged = is_lora(run)
        if ko:
            return "모델", "(LoRA 어댑터를 합친 것)" if merged else ""
        return "", ", with its LoRA adapter merged in" if merged else ""
    return ("양자화 모델", "") if ko else ("A quantised version of", "")


def is_lora(run: Run) -> bool:
    """Whether the run trained a part of the parameters only: our trainer does that by LoRA."""
    return run.parameters.get("trainable", 0) < run.parameters.get("total", 0)


def _method(run: Run, ko: bool) -> Markdown:
    """The recipe's name and the settings that matter, as far as the record has them."""
    config = run.config
    parts = [code(run.recipe)]
    if is_lora(run):
        lora = [
            f"{name} {config[key]}"
            for key, name in (("lora_r", "r"), ("lora_alpha", "α"), ("lora_dropout", "dropout"))
            if config.get(key) is not None
        ]
        parts.append(Markdown(escape("LoRA " + ", ".join(lora))))
    if run.quantization:
        label = "기반 모델 양자화" if ko else "base quantised to"
        parts.append(Markdown(f"{label} {code(run.quantization)}"))
    if config.get("learning_rate") is not None:
        label = "학습률" if ko else "learning rate"
        schedule = config.get("lr_scheduler_type")
        rate = f"{label} {config['learning_rate']}" + (f" ({schedule})" if schedule else "")
        parts.append(Markdown(escape(rate)))
    return Markdown(" · ".join(parts))


def _parameters(run: Run, ko: bool) -> str:
    trainable, total = run.parameters.get("trainable"), run.parameters.get("total")
    if not trainable or not total:
        return ""
    share = percent(trainable / total)
    if ko:
        return f"{count(total)}개 가운데 {count(trainable)}개 ({share})"
    return f"{count(trainable)} of {count(total)} ({share})"


def _pictures(log: Sequence[dict[str, Any]], ko: bool) -> list[tuple[str, str]]:
    """(path, alternative text) of each curve that `plots.training_plots` draws."""
    names = {
        "loss": ("학습 손실 곡선", "Training loss by step"),
        "mean_token_accuracy": ("토큰 정확도 곡선", "Token accuracy by step"),
        "learning_rate": ("학습률 곡선", "Learning rate by step"),
    }
    return [
        (f"{PLOTS_FOLDER}/{key}.png", names[key][not ko])
        for key, _, _ in TRAINING
        if len(series(log, key)) > 1
    ]


def _license_link(license_id: str | None) -> Markdown | None:
    if license_id is None:
        return None
    if license_id not in LICENSE_NAMES:
        return code(license_id)
    name, url = LICENSE_NAMES[license_id]
    return Markdown(f"[{name}]({url})")


def _llama_files(facts: Facts, ko: bool) -> Markdown:
    """Links to the licence and the use policy: the repo's own copies where it has them."""
    terms = llama(facts.license)
    assert terms is not None
    here = [path for path in (*LLAMA_FILES, NOTICE_PATH) if path in facts.paths]
    links = [f"[{path}]({path})" for path in here]
    agreement, policy = (
        ("라이선스 전문", "이용 정책") if ko else ("Agreement", "acceptable use policy")
    )
    links += [f"[{agreement}]({terms.license_url})", f"[{policy}]({terms.policy_url})"]
    return Markdown(", ".join(links))


def _citation(run: Run, repo_id: str | None) -> Markdown:
    owner, name = repo_id.split("/") if repo_id else ("", run.model_name)
    key = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "model"
    lines = [f"@misc{{{key},", f"  title = {{{name}}},"]
    lines += [f"  author = {{{owner}}},"] if owner else []
    lines += [f"  year = {{{run.created[:4]}}},"]
    lines += [f"  url = {{https://huggingface.co/{repo_id}}},"] if repo_id else []
    return fenced("\n".join([*lines, "}"]), "bibtex")


def _reproducibility(facts: Facts, run: Run, lang: str) -> Markdown:
    ko = lang == KO
    rows: list[tuple[object, object]] = [
        ("기반 모델" if ko else "Base model", _repo_at(run.base_model, lang)),
        (
            "데이터" if ko else "Dataset",
            _repo_at(
                Repo(run.dataset.id, run.dataset.revision, run.dataset.local), lang, "datasets/"
            ),
        ),
        ("시드" if ko else "Seed", code(run.training.seed)),
        ("대화 템플릿 SHA-256" if ko else "Chat template SHA-256", code(run.template_sha256)),
        ("학습한 때" if ko else "Trained", code(run.created)),
    ]
    rows += [(name, code(version)) for name, version in sorted(run.versions.items())]
    record = Markdown(f"[{RUN_PATH}]({RUN_PATH})")
    rows.append(("모든 설정" if ko else "Every setting", record))
    return pairs(rows, lang)
