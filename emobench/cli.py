"""The command line, one function a verb. Every verb loads what it needs when it runs, so that ``--help`` is quick.

Its length is that of the options, which typer wants spelled out for each verb; what a verb does lies elsewhere.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from emobench.types import EMOTIONS, UserError

UsageError: Any = typer.BadParameter.__base__
"""The base of every mistake in the arguments, from the copy of click that this typer uses."""

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

ModelOption = Annotated[
    str | None, typer.Option("--model", help="Folder, .gguf file or hub id; the embedded model if left out.")
]
TaskOption = Annotated[str, typer.Option(help="A built-in split, or a JSONL file in the SEV format.")]
RunFolderOption = Annotated[Path | None, typer.Option(help="Output folder; runs/<model>/<task>[-limit-N] if left out.")]
RevisionOption = Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")]
DtypeOption = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
DeviceOption = Annotated[str, typer.Option(help="auto (CUDA, else MPS, else CPU), cpu, cuda or mps.")]
ArtifactOption = Annotated[
    Path | None, typer.Option(help="Circuit artifact; artifacts/<model> or the shipped one if left out.")
]
ClassifierOption = Annotated[str, typer.Option(help="See `emobench ls classifiers`.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A parameter, as circuit.strength=3; repeatable.", metavar="NAME=VALUE"),
]
LimitOption = Annotated[
    int | None, typer.Option(help="Only this many scenarios (18 replies each), taken in turn from each theme.")
]
BatchOption = Annotated[int, typer.Option(min=1, help="Replies generated at once.")]
TokensOption = Annotated[int, typer.Option(min=1, help="Longest reply, in tokens.")]
SeedOption = Annotated[int, typer.Option(help="For controllers that draw at random.")]


def _version(wanted: bool) -> None:
    if wanted:
        from emobench.versions import emobench_version

        typer.echo(f"emobench {emobench_version()}")
        raise typer.Exit


@app.callback(
    help="""How well can a language model's expressed emotion be controlled, and at what cost?

    \b
    emobench say "My train was late again" --controller circuit
    emobench evaluate --controller none --controller prompting --controller circuit --limit 8
    emobench evaluate --controller my_baseline.py --set my_baseline.strength=3
    emobench discover --model Qwen/Qwen3-4B --device cuda
    """
)
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None: ...


@app.command(
    short_help="Run controllers on held-out tasks and print the table.",
    help="""Run controllers on held-out SEV tasks, score the replies and print the table.

    \b
    emobench evaluate --controller circuit --limit 8
    emobench evaluate --controller none --controller prompting --controller steering --controller circuit
    emobench evaluate --controller circuit --set circuit.strength=3 --task my_scenarios.jsonl
    emobench evaluate --controller my_baseline.py --model Qwen/Qwen3-4B --device cuda --batch-size 128

    A run that was stopped goes on with the same command; a finished one is only shown.
    """,
)
def evaluate(
    controller: Annotated[list[str], typer.Option(help="A name, or a .py file of your own; repeatable.")],
    task: TaskOption = "test",
    model: ModelOption = None,
    revision: RevisionOption = None,
    dtype: DtypeOption = "auto",
    device: DeviceOption = "auto",
    artifact: ArtifactOption = None,
    classifier: ClassifierOption = "builtin",
    settings: SetOption = None,
    limit: LimitOption = None,
    out: RunFolderOption = None,
    batch_size: BatchOption = 48,
    max_new_tokens: TokensOption = 100,
    seed: SeedOption = 0,
    style: Annotated[str, typer.Option("--format", help="Table format: simple, github, latex_booktabs …")] = "simple",
) -> None:
    from emobench.controllers import controller_name, load_controller, parse_settings
    from emobench.report.table import check_style, score_table
    from emobench.sev import load_task

    check_style(style)
    parameters = parse_settings(settings or [], controller)
    loaded = load_task(task)
    loaded.samples(limit)
    named = [load_controller(name, parameters.get(controller_name(name))) for name in dict.fromkeys(controller)]
    judge, lm = _load(classifier, model, revision, dtype, device)

    from emobench.evaluation import evaluate as run
    from emobench.progress import Progress
    from emobench.types import Decoding

    folder = out or _default_out(lm.name, loaded.name, limit)
    summary = run(
        lm,
        loaded,
        named,
        judge,
        folder,
        limit=limit,
        decoding=Decoding(max_new_tokens=max_new_tokens),
        batch_size=batch_size,
        seed=seed,
        artifact=artifact,
        progress=Progress(),
    )
    typer.echo(score_table(summary, style))
    typer.echo(f"\nExpression accuracy in percent. Every reply and the full record: {folder}", err=True)


@app.command(
    short_help="Show a reply without control and under a controller.",
    help="""Show the uncontrolled reply and the controlled one, side by side.

    \b
    emobench say "My train was late again" --controller circuit
    emobench say "I found my old diary" --emotion sadness --controller circuit --strength 4
    """,
)
def say(
    text: Annotated[str, typer.Argument(help="What the user says to the model.")],
    controller: Annotated[str, typer.Option(help="A name, or a .py file of your own.")],
    emotion: Annotated[list[str] | None, typer.Option(help="Repeatable; all six if left out.")] = None,
    strength: Annotated[float | None, typer.Option(help="Instead of the controller's own.")] = None,
    model: ModelOption = None,
    revision: RevisionOption = None,
    dtype: DtypeOption = "auto",
    device: DeviceOption = "auto",
    artifact: ArtifactOption = None,
    settings: SetOption = None,
    max_new_tokens: TokensOption = 60,
) -> None:
    from emobench.controllers import controller_name, load_controller, parse_settings
    from emobench.registry import unknown

    for wanted in emotion or []:
        if wanted not in EMOTIONS:
            raise unknown("emotion", wanted, EMOTIONS)
    given = [] if strength is None else [f"{controller_name(controller)}.strength={strength}"]
    parameters = parse_settings([*(settings or []), *given], [controller])
    named = load_controller(controller, parameters.get(controller_name(controller)))
    _, lm = _load(None, model, revision, dtype, device)

    from emobench.report.side_by_side import print_replies
    from emobench.say import replies
    from emobench.types import Decoding

    wanted_emotions = list(dict.fromkeys(emotion or EMOTIONS))
    plain, controlled = replies(lm, text, named, wanted_emotions, Decoding(max_new_tokens=max_new_tokens), artifact)
    print_replies(plain, controlled, named.label)


@app.command(
    short_help="Discover a model's emotion circuit.",
    help="""Discover a model's emotion circuit and write it as an artifact.

    \b
    emobench discover
    emobench discover --model Qwen/Qwen3-4B --device cuda --out artifacts/Qwen3-4B
    """,
)
def discover(
    task: TaskOption = "discovery",
    model: ModelOption = None,
    revision: RevisionOption = None,
    dtype: DtypeOption = "auto",
    device: DeviceOption = "auto",
    limit: LimitOption = None,
    budget: Annotated[
        int | None, typer.Option(help="Components of the circuit; scaled to the model if left out.")
    ] = None,
    batch_groups: Annotated[int, typer.Option(min=1, help="Groups (six prompts each) recorded at once.")] = 8,
    out: Annotated[Path | None, typer.Option(help="Output folder; artifacts/<model> if left out.")] = None,
) -> None:
    from emobench.sev import load_task

    loaded = load_task(task)
    loaded.samples(limit)
    _, lm = _load(None, model, revision, dtype, device)

    from emobench.discovery import artifact
    from emobench.progress import Progress

    about, tensors = artifact.discover(lm, loaded, limit, budget, batch_groups, Progress())
    folder = out or Path("artifacts") / lm.name
    artifact.save_artifact(folder, about, tensors)
    kept = about["config"]["budget_by_kind"]
    circuit = f"{kept['neurons']} neurons and {kept['heads']} heads an emotion"
    typer.echo(f"{circuit}, from {about['data']['groups']} groups: {folder}")
    typer.echo("Next, choose strengths on validation: emobench tune --controller NAME", err=True)


@app.command(
    short_help="Choose a controller's strengths on validation.",
    help="""Choose a controller's strength for each emotion on validation scenarios.

    \b
    emobench tune --controller circuit --limit 8
    """,
)
def tune(
    controller: Annotated[str, typer.Option(help="A controller that has a strength.")],
    task: TaskOption = "validation",
    model: ModelOption = None,
    revision: RevisionOption = None,
    dtype: DtypeOption = "auto",
    device: DeviceOption = "auto",
    artifact: ArtifactOption = None,
    classifier: ClassifierOption = "builtin",
    limit: LimitOption = None,
    out: RunFolderOption = None,
    batch_size: BatchOption = 48,
    max_new_tokens: TokensOption = 100,
    seed: SeedOption = 0,
) -> None:
    from emobench.controllers import tuning_grid
    from emobench.sev import load_task

    loaded = load_task(task)
    loaded.samples(limit)
    tuning_grid(controller)
    judge, lm = _load(classifier, model, revision, dtype, device)

    from emobench.discovery.artifact import artifact_for
    from emobench.progress import Progress
    from emobench.tune import tune as run
    from emobench.types import Decoding

    found = artifact_for(lm, artifact)
    result = run(
        lm,
        loaded,
        controller,
        judge,
        found,
        out or _default_out(lm.name, loaded.name, limit),
        limit=limit,
        decoding=Decoding(max_new_tokens=max_new_tokens),
        batch_size=batch_size,
        seed=seed,
        progress=Progress(),
    )
    from emobench.report.table import curve_table

    typer.echo(curve_table(result))


@app.command(
    short_help="List controllers, tasks, classifiers or models.",
    help="""List what can be named: controllers, tasks, classifiers or models.

    \b
    emobench ls controllers
    """,
)
def ls(what: Annotated[str, typer.Argument(help="controllers, tasks, classifiers or models.")]) -> None:
    from emobench.listing import LISTS
    from emobench.registry import unknown

    if what not in LISTS:
        raise unknown("list", what, LISTS)
    typer.echo(LISTS[what]())


def _default_out(model: str, task: str, limit: int | None) -> Path:
    return Path("runs") / model / (task if limit is None else f"{task}-limit-{limit}")


def _load(classifier: str | None, model: str | None, revision: str | None, dtype: str, device: str) -> tuple[Any, Any]:
    """The classifier, if one is named, and the model; the quick one first, so that a wrong name is told at once."""
    from emobench.classify import load_classifier
    from emobench.models import load_model

    judge = load_classifier(classifier) if classifier else None
    return judge, load_model(model, revision=revision, dtype=dtype, device=device)


def main() -> None:
    """Entry point: a user's mistake is one sentence on standard error and exit code 2."""
    try:
        code = app(standalone_mode=False)
    except UserError as error:
        print(f"emobench: {error}", file=sys.stderr)
        code = 2
    except UsageError as error:
        print(f"emobench: {error.format_message().strip()} See `emobench --help`.", file=sys.stderr)
        code = 2
    except typer.Exit as ended:
        code = ended.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print("emobench: stopped; the same command goes on from the last whole batch.", file=sys.stderr)
        code = 130
    sys.exit(code if isinstance(code, int) else 0)
