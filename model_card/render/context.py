"""What a card's templates name: the facts of the records, and functions that write them.

No words: those are the templates'. Only numbers with a unit and names of metrics and emotions
depend on the language.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from model_card.facts import Facts
from model_card.licenses import LICENSE_NAMES, TERMS_PATHS, own_license, terms
from model_card.publishing.front_matter import dump
from model_card.publishing.markdown import Markdown, code, escape, fenced, html_text, hub_link
from model_card.records import (
    PLOTS_FOLDER,
    RUN_PATH,
    Dataset,
    EvaluatedDataset,
    EvaluatedModel,
    Repo,
    Run,
)
from model_card.render import judgement_tables, score_tables
from model_card.render.curves import read_curve, read_validation
from model_card.render.judgement_tables import judgement
from model_card.render.numbers import count, duration, fixed, percent, short
from model_card.render.plots import TRAINING, series
from model_card.render.score_tables import Evaluation, evaluation
from model_card.render.snippets import gguf_file, install, llama_cpp, snippet, vllm, wrapped


def context(facts: Facts, repo_id: str | None, lang: str, *, both: bool) -> dict[str, Any]:
    """Every name of a template; those of the run only if there is one.

    `both` says that the card is in both languages.
    """
    base = facts.run.base_model.id if facts.run else None
    evaluations = [evaluation(r, base or r.model.base_model, lang) for r in facts.results]
    shared: dict[str, Any] = {
        "both": both,
        "run": facts.run,
        "name": name_of(facts, repo_id),
        "relation": facts.relation,
        "evaluations": evaluations,
        "best": _best(evaluations),
        "safeties": [e for e in evaluations if e.safety],
        "conversations": facts.conversations,
        "judgements": [judgement(found) for found in facts.judgements],
        "bench_judgements": facts.bench_judgements,
        "code": code,
        "count": count,
        "fixed": fixed,
        "percent": percent,
        "short": short,
        "fenced": fenced,
        "html_text": html_text,
        "link": _link,
        "wrapped": wrapped,
        "json": partial(json.dumps, ensure_ascii=False),
        "duration": partial(duration, language=lang),
        "pairs": score_tables.pairs,
        "references": score_tables.reference_table,
        "emotions": score_tables.emotion_table,
        "kinds": score_tables.kind_table,
        "headline": score_tables.headline_table,
        "baselines": score_tables.baseline_table,
        "scores": score_tables.score_table,
        "overview": score_tables.overview_table,
        "meanings": score_tables.meaning_list,
        "bench_scores": partial(judgement_tables.bench_table, language=lang),
        "judges": judgement_tables.judges_table,
        "wins": judgement_tables.win_table,
        "strengths": judgement_tables.strength_table,
        "ratings": judgement_tables.rating_table,
        "model_at": _repo_at,
        "dataset_at": partial(_repo_at, kind="datasets/"),
        "versions": lambda r: ", ".join(f"{name} {v}" for name, v in sorted(r.versions.items())),
    }
    return shared | (_run_context(facts, facts.run, repo_id) if facts.run else {})


def _run_context(facts: Facts, run: Run, repo_id: str | None) -> dict[str, Any]:
    log = facts.log_history
    rates = [rate for _, rate in series(log, "learning_rate")]
    system_prompt = run.system_prompt or next(
        (r.protocol.system_prompt for r in facts.results if r.protocol.system_prompt), None
    )
    gguf = gguf_file(facts.paths)
    counted = run.parameters.get("trainable") and run.parameters.get("total")
    return {
        "base": hub_link(run.base_model.id),
        "dataset": code(run.dataset.id)
        if run.dataset.local
        else hub_link(run.dataset.id, "datasets/"),
        "short_dialogues": run.dataset.source in ("aihub-86", "kosent-sample"),
        "splits": ", ".join(f"{name} {count(rows)}" for name, rows in run.dataset.rows.items()),
        "lora": _lora(run),
        "learning_rate": _learning_rate(run),
        "settings": fenced(dump(run.config), "yaml") if run.config else "",
        "dpo": _dpo(run),
        "parameters": run.parameters if counted else None,
        "hardware": run.hardware.device
        + (f" × {run.hardware.processes}" if run.hardware.processes > 1 else ""),
        "pictures": _pictures(log),
        "loss": read_curve(log, "loss"),
        "accuracy": read_curve(log, "mean_token_accuracy"),
        "validation": read_validation(log),
        "rate": (max(rates), rates[-1]) if rates else None,
        "system_prompt": system_prompt,
        "install": install(facts.relation, gguf),
        "snippet": snippet(facts.relation, repo_id or run.model_name, run, system_prompt, gguf),
        "vllm": vllm(facts.relation, repo_id, run, gguf),
        "llama_cpp": llama_cpp(facts.paths, repo_id),
        "terms": terms(facts.license, run.base_model.id),
        "licence_files": [path for path in TERMS_PATHS if path in facts.paths],
        "license_link": _license_link(facts.license, run.base_model.id),
        "citation": _citation(run, repo_id),
        "record": _link(RUN_PATH, RUN_PATH),
        "libraries": [(name, code(version)) for name, version in sorted(run.versions.items())],
    }


def _repo_at(
    repo: Repo | Dataset | EvaluatedDataset | EvaluatedModel, local: str = "", kind: str = ""
) -> Markdown:
    """A link to a repo at its commit; of a local folder the name, and `local` in parentheses.

    `kind` is "datasets/" for a dataset.
    """
    if isinstance(repo, EvaluatedDataset) and repo.is_bench:
        return Markdown(f"KoSent-Bench {code(repo.revision or '')}")
    if repo.local and kind:
        link = code(repo.id)  # a local base keeps the Hub id it was downloaded under
    else:
        link = hub_link(repo.id, kind, None if repo.local else repo.revision)
    if repo.local and local:
        return Markdown(f"{link} ({escape(local)})")
    return Markdown(f"{link} @ {code(repo.revision[:12])}") if repo.revision else link


def _link(text: str, url: str) -> Markdown:
    return Markdown(f"[{escape(text)}]({url})")


def name_of(facts: Facts, repo_id: str | None) -> str:
    """The model's name: the repo's, else the run's, else that of the model evaluated."""
    if repo_id is not None:
        return repo_id.split("/")[-1]
    if facts.run is not None:
        return facts.run.model_name
    return facts.results[0].model.id.split("/")[-1] if facts.results else "model"


def _best(evaluations: list[Evaluation]) -> Evaluation | None:
    """The evaluation for the head: with a baseline, at the default settings, KoSent-Bench, the
    largest."""
    return max(
        evaluations,
        key=lambda e: (
            e.record.baseline is not None,
            not e.record.settings,
            e.record.dataset.is_bench,
            e.record.dataset.samples,
        ),
        default=None,
    )


def is_lora(run: Run) -> bool:
    """Whether the run trained a part of the parameters only: our trainer does that by LoRA."""
    return run.parameters.get("trainable", 0) < run.parameters.get("total", 0)


def _lora(run: Run) -> str:
    """`LoRA r 16, α 32, dropout 0.05`, as far as recorded; "" where it was no LoRA."""
    names = {"lora_r": "r", "lora_alpha": "α", "lora_dropout": "dropout"}
    known = [(name, run.config.get(key)) for key, name in names.items()]
    settings = ", ".join(f"{name} {value}" for name, value in known if value is not None)
    return f"LoRA {settings}".strip() if is_lora(run) else ""


def _dpo(run: Run) -> dict[str, Any] | None:
    """`beta`, and of the validation split's pairs the last `margin` and the share `ahead` (None
    without such a split); None where the run was no DPO."""
    if run.config.get("trainer") != "dpo":
        return None
    final = run.training.final
    return {
        "beta": run.config.get("beta", 0.1),
        "margin": final.get("eval_rewards/margins"),
        "ahead": final.get("eval_rewards/accuracies"),
    }


def _learning_rate(run: Run) -> str:
    """`0.0002 (cosine)`; "" where it is not recorded."""
    rate, schedule = run.config.get("learning_rate"), run.config.get("lr_scheduler_type")
    if rate is None:
        return ""
    return f"{rate} ({schedule})" if schedule else str(rate)


def _pictures(log: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """(path, key in the log) of each curve that `plots.training_plots` draws."""
    keys = [key for key, _, _ in TRAINING if len(series(log, key)) > 1]
    return [(f"{PLOTS_FOLDER}/{key}.png", key) for key in keys]


def _license_link(license_id: str | None, base_model: str) -> Markdown | None:
    if license_id is None:
        return None
    if license_id == "other" and (own := own_license(base_model)):
        return _link(own.title, own.url)
    return _link(*LICENSE_NAMES[license_id]) if license_id in LICENSE_NAMES else code(license_id)


def _citation(run: Run, repo_id: str | None) -> Markdown:
    owner, name = repo_id.split("/") if repo_id else ("", run.model_name)
    key = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "model"
    lines = [f"@misc{{{key},", f"  title = {{{name}}},"]
    lines += [f"  author = {{{owner}}},"] if owner else []
    lines += [f"  year = {{{run.created[:4]}}},"]
    lines += [f"  url = {{https://huggingface.co/{repo_id}}},"] if repo_id else []
    return fenced("\n".join([*lines, "}"]), "bibtex")
