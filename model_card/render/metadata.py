"""The metadata of a card, by which the Hub lists, filters and runs a model."""

from __future__ import annotations

from typing import Any

from model_card.conversations import PROMPTS, Conversation
from model_card.facts import ADAPTER, Facts
from model_card.licenses import own_license
from model_card.metrics import HUB_NAMES
from model_card.publishing.front_matter import OUR_WIDGETS
from model_card.publishing.hub_ids import is_hub_id
from model_card.publishing.markdown import plain
from model_card.render.context import is_lora, name_of
from model_card.render.model_index import model_index

# Enough for the page of the model; the text of the card has all conversations.
MAX_WIDGETS = 3


def card_metadata(facts: Facts, repo_id: str | None) -> dict[str, Any]:
    """Our keys of the front matter, without those that are not known or not on the Hub."""
    measured = dict.fromkeys(name for r in facts.results for name in r.metrics)
    scores: dict[str, Any] = {}
    if facts.results:
        scores["metrics"] = [HUB_NAMES[name] for name in measured if name in HUB_NAMES]
        scores["model-index"] = model_index(facts.results, name_of(facts, repo_id), repo_id)
    run = facts.run
    if run is None:
        return scores
    data: dict[str, Any] = {"language": ["ko"]}
    if facts.license:
        data["license"] = facts.license
    if facts.license == "other" and (own := own_license(run.base_model.id)):
        data |= {"license_name": own.name, "license_link": own.url}
    data["library_name"] = "peft" if facts.relation == ADAPTER else "transformers"
    data["pipeline_tag"] = "text-generation"
    if is_hub_id(run.base_model.id):
        data["base_model"] = run.base_model.id
        data["base_model_relation"] = facts.relation
    if not run.dataset.local and is_hub_id(run.dataset.id):
        data["datasets"] = [run.dataset.id]
    method = ["lora"] if is_lora(run) else []
    data["tags"] = ["kosent", "empathetic-dialogue", "korean", "conversational", *method, "trl"]
    examples = [c for c in facts.conversations if c.prompt in PROMPTS and not c.tuned_cut]
    if examples:
        data["widget"] = [_widget(c) for c in examples[:MAX_WIDGETS]]
    return data | scores


def _widget(conversation: Conversation) -> dict[str, Any]:
    """An example of the Hub's page: a prompt of ours, never a person's, and the reply to it."""
    system = conversation.system_prompt
    return {
        "messages": [
            *([{"role": "system", "content": system}] if system else []),
            {"role": "user", "content": conversation.prompt},
        ],
        "output": {"text": plain(conversation.tuned_reply)},
        "group": OUR_WIDGETS,
    }
