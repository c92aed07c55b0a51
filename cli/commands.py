"""The commands by name. Modules that are slow to import are imported where a command needs them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.options import (
    AsJson,
    ConfigFile,
    DatabaseUrl,
    DataPath,
    FirstJob,
    Overrides,
    RunDir,
    ServiceDir,
    Workers,
    with_workers,
)
from cli.reading import Reading, with_reading
from cli.screen import answer_json, answers, download, notes, show_log, stages
from fedmem import __version__

app = typer.Typer(
    help="FedMem: a federated recommender whose users keep their data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Fetch or make data sets, and bring them into the database.", no_args_is_help=True)
db_app = typer.Typer(help="The database's tables.", no_args_is_help=True)
config_app = typer.Typer(help="Show the configuration.", no_args_is_help=True)
bench_app = typer.Typer(help="Measure speed, as ratios against a named peer.", no_args_is_help=True)
jobs_app = typer.Typer(help="Queue, watch, pause, resume and stop training jobs.", no_args_is_help=True)
app.add_typer(jobs_app, name="jobs")
app.add_typer(data_app, name="data")
app.add_typer(db_app, name="db")
app.add_typer(bench_app, name="bench")
app.add_typer(config_app, name="config")


def _version(asked: bool) -> None:
    if asked:
        answers.print(f"fedmem {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    show_log()


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="ml-100k, ml-1m, ml-latest-small or sasrec-ml-1m.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder that receives DIR/NAME.")] = Path("data"),
) -> None:
    """Download a public data set from its own site and verify its checksums."""
    from fedmem.data.fetch import DATASETS, fetch

    with download(name) as progress:
        folder = fetch(name, out, progress=progress)
    notes.print(DATASETS[name].licence)
    answers.print(f"{folder}")


@data_app.command("demo")
def data_demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write.")] = Path("data/demo"),
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes another catalogue.")] = 42,
) -> None:
    """Make the embedded catalogue: films, drawn covers, and users whose tastes drift. Needs no network."""
    from fedmem.data.demo import write_demo

    with stages() as progress:
        folder = write_demo(out, seed=seed, progress=lambda done, total: progress("drawing covers", done, total))
    answers.print(f"{folder}")


@data_app.command("import")
@with_reading
def data_import(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file or folder of interactions.")],
    name: Annotated[str | None, typer.Option(help="Of the data set; default the file's or folder's.")] = None,
    *,
    reading: Reading,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Write interactions, titles and pictures to the database, all or nothing. Again adds only what is new."""
    from cli.importing import run_import
    from fedmem.data.formats import read_dataset

    interactions, catalogue = read_dataset(path, **reading.arguments())
    run_import(path, name, database_url, interactions, catalogue, as_json=as_json)


@data_app.command("list")
def data_list(database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """The data sets in the database, with their counts."""
    from cli.importing import show_datasets

    show_datasets(database_url, as_json=as_json)


@data_app.command("remove")
def data_remove(
    name: Annotated[str, typer.Argument(help="As `fedmem data list` shows it.")], database_url: DatabaseUrl = None
) -> None:
    """Remove a data set from the database, unless a job refers to it."""
    from cli.importing import remove

    remove(name, database_url)


@db_app.command("upgrade")
def db_upgrade(database_url: DatabaseUrl = None) -> None:
    """Bring the database's tables to this version; makes them where there are none."""
    from cli.database import show_upgrade

    show_upgrade(database_url)


@db_app.command("prepare")
def db_prepare(
    data_dir: ServiceDir = Path("runs/service"), database_url: DatabaseUrl = None, train: FirstJob = True
) -> None:
    """Upgrade, and put the demo into a database without any data set: what `fedmem up` does before it starts."""
    from cli.up import prepare
    from fedmem.storage.engine import DEFAULT_URL

    prepare(data_dir, database_url or DEFAULT_URL, train=train)


@db_app.command("current")
def db_current(database_url: DatabaseUrl = None) -> None:
    """The revision that the database's tables are at."""
    from cli.database import show_current

    show_current(database_url)


@config_app.command("show")
def config_show(
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print a documented YAML file to start from.")] = False,
    services: Annotated[
        bool, typer.Option("--services", help="The services' settings instead, and where each value comes from.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Every setting with its value, its meaning and, where it differs, the original's default."""
    if services:
        from cli.service_table import show_services

        show_services(as_json=as_json)
        return
    from cli import config_table
    from fedmem.config import load_config

    loaded = load_config(config, overrides or ())
    if as_json:
        answer_json(loaded.model_dump(mode="json"))
    elif as_yaml:
        answers.print(config_table.as_yaml(loaded), end="")
    else:
        answers.print(config_table.as_table(loaded))


@app.command()
@with_reading
def train(
    data: DataPath,
    config: ConfigFile = None,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the run is written; default save_dir.")] = None,
    *,
    reading: Reading,
    workers: Workers = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in DIR, if there is one.")] = False,
    reference: Annotated[
        bool, typer.Option("--reference", help="Train one client at a time, as the paper's pseudocode does.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train one model. Ctrl-C stops; --resume continues with the same numbers."""
    from cli.training import run_training
    from fedmem.config import load_config
    from fedmem.data.formats import load_dataset

    loaded = load_config(config, with_workers(overrides, workers))
    dataset = load_dataset(data, min_sequence_length=loaded.data.min_sequence_length, **reading.arguments())
    run_training(loaded, dataset, out or Path(loaded.save_dir), resume=resume, reference=reference, as_json=as_json)


@app.command()
@with_reading
def ablate(
    data: DataPath,
    config: ConfigFile = None,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Receives a run per rung and seed, and ablation.json.")] = (
        Path("runs/ablation")
    ),
    seeds: Annotated[
        str | None, typer.Option(metavar="N,N", help="A ladder for each; default the configuration's.")
    ] = None,
    rungs: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Some of centralised, fedavg, fedmem_no_proto, fedmem_no_contrast, fedmem; default all.",
        ),
    ] = None,
    workers: Workers = None,
    *,
    reading: Reading,
    as_json: AsJson = False,
) -> None:
    """Train the ladder, from centralised SASRec to FedMem-Full, and print one Markdown table with the baselines.

    The configuration is FedMem-Full's; the other rungs differ by a switch. Ctrl-C stops; the same call continues.
    """
    from cli.ablating import run_ablation, rungs_of, seeds_of
    from fedmem.config import load_config
    from fedmem.data.formats import load_dataset

    loaded = load_config(config, with_workers(overrides, workers))
    chosen, drawn = rungs_of(rungs), seeds_of(seeds, loaded.seed)
    dataset = load_dataset(data, min_sequence_length=loaded.data.min_sequence_length, **reading.arguments())
    run_ablation(loaded, dataset, out, chosen, drawn, as_json=as_json)


@app.command()
def evaluate(
    run: RunDir,
    split: Annotated[Literal["test", "validation"], typer.Option(help="The target: last item, or last but one.")] = (
        "test"
    ),
    baselines: Annotated[bool, typer.Option(help="Chance, popularity, item-item counts and EASE beside it.")] = True,
    beside: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Another run on the same data, in the table. Repeatable."),
    ] = None,
    controls: Annotated[bool, typer.Option("--controls", help="The same model with parts of its memory changed.")] = (
        False
    ),
    lists: Annotated[bool, typer.Option("--lists", help="Coverage, long-tail share and diversity of lists of 10.")] = (
        False
    ),
    negatives: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rank among 100 stored negatives only, as some papers do; it reorders models. Drawn if not there.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rank the whole catalogue for every user and print metrics with standard errors.

    Where users were kept out of training (data.cold_user_fraction), a second table shows them at 0 to 5 interactions.
    """
    from cli.evaluation import Questions, run_evaluation

    asked = Questions(split, beside or (), baselines, controls, lists, negatives)
    run_evaluation(run, asked, as_json=as_json)


@bench_app.command("simulate")
def bench_simulate(
    data: Annotated[Path | None, typer.Option(metavar="PATH", help="ML-100K; found by itself, or generated.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Write benchmarks/results/simulate.json too.")] = False,
    as_json: AsJson = False,
) -> None:
    """The speed of simulated training, in about three minutes."""
    from cli.benching import run_simulate

    run_simulate(data, keep=keep, as_json=as_json)


@bench_app.command("serve")
def bench_serve(
    keep: Annotated[bool, typer.Option("--keep", help="Write benchmarks/results/serve.json too.")] = False,
    as_json: AsJson = False,
) -> None:
    """The speed of recommendations, in about four minutes."""
    from cli.benching import run_serve

    run_serve(keep=keep, as_json=as_json)


@bench_app.command("topk")
def bench_topk(
    items: Annotated[int, typer.Option(min=1000, help="How many items the catalogue has.")] = 1_000_000,
    keep: Annotated[bool, typer.Option("--keep", help="Write benchmarks/results/topk.json too.")] = False,
    as_json: AsJson = False,
) -> None:
    """How much of the exact top 10 FAISS finds in a large catalogue, and in what share of the time."""
    from cli.benching import run_topk

    run_topk(items, keep=keep, as_json=as_json)


@app.command()
def recommend(
    run: RunDir,
    user: Annotated[str | None, typer.Option("--user", "-u", help="A user id of the data set.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    all_users: Annotated[bool, typer.Option("--all-users", help="Every user, into --out.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="CSV: user_id, rank, item_id, score.")] = None,
    as_json: AsJson = False,
) -> None:
    """Recommend unseen items from the best model of a run, by title."""
    from cli import recommending

    if all_users == (user is not None):
        raise typer.BadParameter("give either --user ID or --all-users --out FILE")
    if (all_users and as_json) or (user is not None and out is not None):
        raise typer.BadParameter("--json goes with --user, and --out with --all-users")
    if user is not None:
        recommending.for_one(run, user, k, as_json=as_json)
    elif out is None:
        raise typer.BadParameter("--all-users needs --out FILE")
    else:
        recommending.for_all(run, k, out)


@app.command()
def up(
    port: Annotated[int, typer.Option(envvar="FEDMEM_PORT", min=1, max=65535, help="Port of the API.")] = 8000,
    dashboard_port: Annotated[
        int, typer.Option(envvar="FEDMEM_DASHBOARD_PORT", min=1, max=65535, help="Port of the dashboard.")
    ] = 8501,
    data_dir: ServiceDir = Path("runs/service"),
    database_url: DatabaseUrl = None,
    train: FirstJob = True,
) -> None:
    """Start the whole product on this machine: trainer, API and dashboard, with the demo in an empty database."""
    from cli.up import Address, run_up
    from fedmem.storage.engine import DEFAULT_URL

    api, board = Address("127.0.0.1", port), Address("127.0.0.1", dashboard_port)
    run_up(api, board, data_dir, database_url or DEFAULT_URL, train=train)


JobId = Annotated[int, typer.Argument(metavar="JOB", help="As `fedmem jobs list` shows it.")]


@jobs_app.command("list")
def jobs_list(database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """The newest jobs."""
    from cli.jobs import show_jobs

    show_jobs(database_url, as_json=as_json)


@jobs_app.command("show")
def jobs_show(job: JobId, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """One job: how far it is, why it ended, its traceback if it failed."""
    from cli.jobs import show_job

    show_job(database_url, job, as_json=as_json)


@jobs_app.command("start")
def jobs_start(
    dataset: Annotated[str, typer.Option(metavar="NAME", help="An imported data set.")],
    config: ConfigFile = None,
    overrides: Overrides = None,
    experiment: Annotated[bool, typer.Option("--experiment", help="Do not put its model into service.")] = False,
    start_from: Annotated[
        int | None, typer.Option(metavar="JOB", help="Go on from the last checkpoint of this ended job.")
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Queue a training job for a trainer to take up, and print its number."""
    from cli.jobs import start_job
    from fedmem.config import load_config

    kind: Literal["experiment", "training"] = "experiment" if experiment else "training"
    start_job(database_url, dataset, load_config(config, overrides or ()), kind, start_from)


@jobs_app.command("stop")
def jobs_stop(job: JobId, database_url: DatabaseUrl = None) -> None:
    """End a job within one chunk of clients; its last checkpoint stays, and another job may start from it."""
    from cli.jobs import wish

    wish(database_url, job, "stop")


@jobs_app.command("pause")
def jobs_pause(job: JobId, database_url: DatabaseUrl = None) -> None:
    """Let a job rest."""
    from cli.jobs import wish

    wish(database_url, job, "pause")


@jobs_app.command("resume")
def jobs_resume(job: JobId, database_url: DatabaseUrl = None) -> None:
    """Let a paused job go on."""
    from cli.jobs import wish

    wish(database_url, job, "resume")


@jobs_app.command("logs")
def jobs_logs(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until the job has ended.")] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """A job's log."""
    from cli.jobs import show_log

    show_log(database_url, job, follow=follow)


@app.command()
def audit(job: JobId, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """The ledger of what a job's clients and server have sent each other."""
    from cli.jobs import show_audit

    show_audit(database_url, job, as_json=as_json)


@app.command()
def dashboard() -> None:
    """Serve the dashboard, until Ctrl-C. Settings come from the environment, see .env.example."""
    from dashboard.__main__ import main

    main()


@app.command()
def trainer(
    database_url: DatabaseUrl = None,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when no job is left.")] = False,
) -> None:
    """Claim queued jobs and train them, until Ctrl-C. Settings come from the environment, see .env.example."""
    from trainer.settings import Settings
    from trainer.worker import serve_jobs

    serve_jobs(Settings.load(database_url=database_url), until_idle=until_idle)


@app.command()
def serve(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]", help="A directory that `fedmem train` wrote; without it, the database's models."
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one. Default FEDMEM_PORT.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default FEDMEM_HOST.")] = None,
) -> None:
    """Answer over HTTP: one run's model, or everything that is in the database of DATABASE_URL.

    .env.example lists the settings. Beyond this machine it listens only with FEDMEM_API_KEY.
    """
    from cli.serving import run_serve

    run_serve(run, host, port)
