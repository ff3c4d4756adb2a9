"""KoSent-Bench as tasks of inspect, scored as kosent-eval scores the same replies.

    pip install "kosent-hub[inspect]"
    inspect eval kosent_hub/evaluation/inspect_task.py --model hf/ORG/MODEL -M do_sample=false

The tasks are `dialogues`, `crisis`, `conduct` and `multiturn`; `inspect_task.py@crisis` runs one.
Of the dialogues there are the metrics that need nothing but strings. Which replies were cut at the
limit of new tokens is known where the provider says so; inspect's `hf` does not, and then their
unfinished last sentences count in repetition, Hangul and politeness, which kosent-eval leaves out.
"""

from __future__ import annotations

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
)
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

from dataset_builder.bench import load, turns
from dataset_builder.bench.turns import CONDUCT, CRISIS, DIALOGUES
from kosent_hub import metrics
from kosent_hub.evaluation.backends import CUT, whole
from kosent_hub.evaluation.bench.items import Asked, next_turn, user_turn
from kosent_hub.evaluation.bench.measuring import part_measures, true_history_measures
from kosent_hub.evaluation.options import Options
from kosent_hub.evaluation.replies import Draw
from kosent_hub.models.chat_format import Messages

ROLES = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
# As many new tokens as kosent-eval allows unless it is told otherwise.
CONFIG = GenerateConfig(max_tokens=Options.max_new_tokens)


@task
def dialogues() -> Task:
    """Replies to the dialogues against both references."""
    return Task(dataset=_samples(DIALOGUES), solver=generate(), scorer=on_strings(), config=CONFIG)


@task
def crisis() -> Task:
    """Whether replies point to help, where it is due and where it is not."""
    return Task(dataset=_samples(CRISIS), solver=generate(), scorer=on_part(), config=CONFIG)


@task
def conduct() -> Task:
    """Whether replies resist what they should not go along with."""
    return Task(dataset=_samples(CONDUCT), solver=generate(), scorer=on_part(), config=CONFIG)


@task
def multiturn() -> Task:
    """Conversations with the scripted users, with the model's own replies as history."""
    samples = []
    for row, script in enumerate(load().scripts):
        first = next_turn(script, row, [])
        assert first is not None
        samples.append(Sample(id=script.id, input=_chat(first.messages), target=""))
    return Task(dataset=samples, solver=talk(), scorer=on_part(), config=CONFIG)


@solver
def talk() -> Solver:
    """The model's replies to a scripted user until the script's end."""
    scripts = {script.id: script for script in load().scripts}

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        script = scripts[str(state.sample_id)]
        replies: list[str] = []
        stops: list[str] = []
        while len(replies) < len(script.turns):
            if replies:
                state.messages.append(ChatMessageUser(content=user_turn(script, replies)))
            state = await generate(state)
            replies.append(_reply(state.output.completion))
            stops.append(_stop(state))
        state.metadata["stops"] = stops
        return state

    return solve


@metric
def kosent_strings() -> Metric:
    """The metrics on strings of all replies to the dialogues, as kosent-eval has them."""

    def measured(scores: list[SampleScore]) -> Value:
        # In the dataset's order: a sum of floats depends on it.
        ordered = sorted(scores, key=lambda one: str(one.sample_id))
        replies = [one.score.answer or "" for one in ordered]
        targets = [(one.score.metadata or {})["targets"] for one in ordered]
        cut = [(one.score.metadata or {})["stop"] == CUT for one in ordered]
        items = [str(one.sample_id).partition("#")[0] for one in ordered]
        found = metrics.measure_texts(replies, targets, cut)
        found |= true_history_measures(load().version, items, replies, cut)
        return {n: measure.value for n, measure in found.items() if n != "truncated_rate"}

    return measured


@metric
def kosent_part() -> Metric:
    """The metrics of a part beside the dialogues, as kosent-eval has them."""

    def measured(scores: list[SampleScore]) -> Value:
        known = {str(one.sample_id): one.score.metadata or {} for one in scores}
        said = {name: own["replies"] for name, own in known.items()}
        bench = load()
        asked = Asked(
            bench.version,
            tuple(turn for turn in turns(bench) if turn.id in said),
            tuple(script for script in bench.scripts if script.id in said),
        )
        draw = Draw(
            0,
            replies=[],
            stops=[],
            extra_replies={turn.id: said[turn.id][-1] for turn in asked.turns},
            extra_stops={},
            talk_replies={script.id: said[script.id] for script in asked.scripts},
            talk_stops={script.id: known[script.id]["stops"] for script in asked.scripts},
        )
        return {
            name: measure.value
            for (found,) in part_measures(asked, [draw])
            for name, measure in found.items()
        }

    return measured


@scorer(metrics=[kosent_strings()])
def on_strings() -> Scorer:
    """Each reply's chrF++."""

    async def score(state: TaskState, target: Target) -> Score:
        reply = _reply(state.output.completion)
        own = metrics.chrf([reply], [target.target]).value
        return Score(
            value=own, answer=reply, metadata={"targets": target.target, "stop": _stop(state)}
        )

    return score


@scorer(metrics=[kosent_part()])
def on_part() -> Scorer:
    """How many replies the model gave; what they come to is told of all samples together."""

    async def score(state: TaskState, target: Target) -> Score:
        # A single prompt's history is the item's own.
        own = [m for m in state.messages if m.role == "assistant" and m.source == "generate"]
        given = [_reply(m.text) for m in own]
        stops = state.metadata.get("stops", [])
        facts = {"replies": given, "stops": stops}
        return Score(value=len(given), answer=given[-1], metadata=facts)

    return score


def _reply(text: str) -> str:
    """The reply as kosent-eval has it, without half a character where it may have been cut."""
    return whole(text.strip(), CUT)


def _stop(state: TaskState) -> str:
    return CUT if state.output.stop_reason == "max_tokens" else "stop"


def _samples(part: str) -> list[Sample]:
    return [
        Sample(id=turn.id, input=_chat(turn.input), target=list(turn.targets))
        for turn in turns(load())
        if turn.part == part
    ]


def _chat(messages: Messages) -> list[ChatMessage]:
    return [ROLES[message["role"]](content=message["content"]) for message in messages]
