"""The command line: absl flags become a configuration, the configuration becomes a run.

JAX is imported only after the flags have been read, so that `--help` and every complaint come at once. All flags stand
in this one file, longer than others; `commands.help` groups them by task.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from absl import app, flags, logging

from xrd_jax.commands.help import help_text, is_asked
from xrd_jax.config.ablations import ABLATIONS
from xrd_jax.config.cases import CASES
from xrd_jax.config.cell import PRESETS
from xrd_jax.config.overrides import override
from xrd_jax.config.recipes import RECIPES, recipe_fields
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.runtime import ending, process
from xrd_jax.runtime.console import Console

ATTENTION = {"paper": "softmax", "faithful": "faithful"}
MODES = ("train", "inspect", "predict", "watch", "export", "explain", "information")

FLAGS = flags.FLAGS
flags.DEFINE_enum(
    "mode", "train", MODES,
    "train also evaluates, analyses and draws; inspect says what --data=FOLDER or FILE is. Of the run in --workdir: "
    "predict tells what it thinks of --data, watch follows the folder --data while patterns arrive, export makes it "
    "one file that needs nothing of this package, explain says which peaks it goes by and whether to believe that. "
    "information says what each channel of the simulated cell can tell, and what nobody could do better.",
)  # fmt: skip
flags.DEFINE_integer(
    "case", 3, "1: voltage at 1C; 2: voltage and mode at 1C; 3: voltage, mode and rate at 1C and 0.2C."
)
flags.DEFINE_string("data", "", "Experiment file (.toml) or saved series (.h5); the simulated cell if not given.")
flags.DEFINE_string("json", "", "With --mode=inspect: where to write the findings for programs.")
flags.DEFINE_string(
    "out", "", "With --mode=predict, watch or export: where results go; a folder in --workdir if empty."
)
flags.DEFINE_list("methods", [], "With --mode=explain: the explanations to make and test; all of them if empty.")
flags.DEFINE_list("cif", [], "With --mode=explain: CIF files of the phases whose reflections name the peaks.")
flags.DEFINE_string("importance", "", "With --mode=explain: the method that importance.csv is of; the best if empty.")
flags.DEFINE_float("until_idle", 0.0, "With --mode=watch: end when nothing new has come for so many seconds; 0: never.")
flags.DEFINE_float("patience", 60.0, "With --mode=watch: seconds after which a file that stays unreadable is reported.")
flags.DEFINE_enum("format", "jax", ("jax", "onnx"), "With --mode=export: StableHLO for jax.export, or ONNX.")
flags.DEFINE_bool("cache", True, "Keep what many pattern files held, so that they read at once the next time.")
flags.DEFINE_string("data_root", "", "Where relative paths of the experiment file start; else $XRD_JAX_DATA.")
flags.DEFINE_string("cell", "default", f"Preset of the simulated cell: {', '.join(PRESETS)}.")
flags.DEFINE_enum("recipe", "paper", list(RECIPES), "As the paper says, or what errs least on unseen cycles.")
flags.DEFINE_enum(
    "estimator", None, ["network", "pls", "ridge", "gp", "trees", "auto"],
    "The network, or a simpler model, which needs seconds; auto: the simpler one that errs least on groups that are "
    "left out inside the training patterns.",
)  # fmt: skip
flags.DEFINE_string("workdir", "", "Run directory (default runs/case<N>). The same command resumes what is there.")
flags.DEFINE_integer("seeds", 1, "How many networks to train side by side.")
flags.DEFINE_integer("seed", 0, "The first seed; with --mode=export the only one, instead of the mean over all.")
flags.DEFINE_string(
    "split", "", "random half, cycle (last of each rate held out), block, half_cycle or session (one held out), rows."
)
flags.DEFINE_integer("repeats", 1, "Splits to train and test on: other draws, or every cycle, … held out in turn.")
flags.DEFINE_string("resize", "", "spline (samples it) or bin (sums channels; keeps far more information).")
flags.DEFINE_enum(
    "attention", None, list(ATTENTION),
    "paper: between two hidden layers. faithful: that and, for each target, attention over the pattern itself that is "
    "taught to show what the network draws on.",
)  # fmt: skip
flags.DEFINE_enum("precision", None, ["float32", "bfloat16"], "Of the products; the experiment file's if not given.")
flags.DEFINE_integer("epochs", 0, "Passes over the training patterns; the case's own if 0.")
flags.DEFINE_multi_string(
    "set", [], "key=value: any field of the configuration, such as model.attention=off. Repeatable."
)
flags.DEFINE_bool("overwrite", False, "Replace the run that the run directory holds.")
flags.DEFINE_string("ablation", "", "A named ablation instead of one run; 'list' shows them.")
flags.DEFINE_bool("distributed", False, "Train with other processes, on this host or others; see the README.")
flags.DEFINE_string(
    "coordinator", "", "With --distributed: HOST:PORT of the first process; found on Slurm and Kubernetes."
)
flags.DEFINE_integer("process_id", -1, "With --distributed: which process this one is, from 0.")
flags.DEFINE_integer("process_count", 0, "With --distributed: how many processes there are.")
flags.DEFINE_bool("compile_cache", True, "Keep compiled programs for the next launch, in a private folder of yours.")
flags.DEFINE_bool("report", True, "Write report.html, a page with linked panels, and card.md, a summary, of the run.")
flags.DEFINE_bool("progress", True, "Draw a progress bar.")


def is_reporting() -> bool:
    """Return whether this process is the one of a training that writes to the screen."""
    if not FLAGS.distributed:
        return True
    from xrd_jax.runtime import distributed

    return distributed.is_primary()


def echo(line: str) -> None:
    """Print a line for the user, once however many processes train together."""
    if is_reporting():
        print(line, flush=True)


def base_config() -> Config:
    """Return the case's configuration with the flags other than --set applied.

    Raises:
      UserError: an unknown case or preset.
    """
    if FLAGS.case not in CASES:
        *others, last = map(str, CASES)
        raise UserError(f"--case={FLAGS.case}: the cases are {', '.join(others)} and {last}")
    if FLAGS.cell not in PRESETS:
        raise UserError(f"--cell={FLAGS.cell}: the presets are {', '.join(PRESETS)}")
    if FLAGS.seeds < 1 or FLAGS.epochs < 0:
        raise UserError("--seeds must be at least 1 and --epochs positive")
    base = CASES[FLAGS.case]()
    cell = dataclasses.replace(PRESETS[FLAGS.cell], rates=base.cell.rates)
    recipe = recipe_fields(FLAGS.recipe, FLAGS.split or base.prepare.split)
    return override(dataclasses.replace(base, cell=cell, seed=FLAGS.seed, seeds=FLAGS.seeds), recipe)


def apply_flags(config: Config) -> Config:
    """Return `config` with the shorthand flags, then --set; they win over the case and the experiment file."""
    shorthand = {"prepare.split": FLAGS.split, "prepare.resize": FLAGS.resize, "train.epochs": FLAGS.epochs}
    shorthand |= {"model.precision": FLAGS.precision, "train.estimator": FLAGS.estimator}
    shorthand["model.attention"] = ATTENTION.get(FLAGS.attention, "")
    return override(config, [*(f"{key}={value}" for key, value in shorthand.items() if value), *FLAGS.set])


def for_measured_data(config: Config) -> Config:
    """Return a case for measured data: no window and no zero shift but those that its experiment file asks for."""
    prepare = dataclasses.replace(config.prepare, window_target="")
    train = dataclasses.replace(config.train, redraw_shift=0.0)
    return dataclasses.replace(config, data=FLAGS.data, data_root=FLAGS.data_root, prepare=prepare, train=train)


def initialise_runtime(config: Config) -> None:
    """Settle which processes and devices there are before JAX looks for any."""
    from xrd_jax.runtime import distributed

    process_count = 1
    if FLAGS.distributed:
        process_count = distributed.start(FLAGS.coordinator, FLAGS.process_id, FLAGS.process_count)
    elif FLAGS.coordinator or FLAGS.process_id >= 0 or FLAGS.process_count:
        raise UserError("--coordinator, --process_id and --process_count are for --distributed; add it")
    device_count = -(-config.seeds * max(1, config.train.batch_devices) // process_count) if process_count > 1 else 0
    initialise_devices(device_count)


def initialise_devices(device_count: int = 0) -> None:
    """Make every core a device, or `device_count` of them, and find compiled programs of earlier launches."""
    from xrd_jax.runtime import compilation, devices

    devices.emulate(device_count or process.cores())
    compilation.full_float32()
    if FLAGS.compile_cache:
        compilation.enable_compilation_cache()


def train(console: Console) -> None:
    """Load or simulate, train and report."""
    config = apply_flags(base_config())  # complains about bad flags before anything is computed
    started = time.perf_counter() - process.age()
    initialise_runtime(config)
    from xrd_jax import datasets
    from xrd_jax.commands.repeat import repeat
    from xrd_jax.commands.tables import markdown
    from xrd_jax.commands.train import train_and_report

    if FLAGS.data:
        config = for_measured_data(base_config())
        series, messages, settings = datasets.load_for(config, FLAGS.cache, console.progress and is_reporting())
        if not series.is_counts:
            settings = {"train.augment": "none", "model.likelihood": 0.0, **settings}
        config = apply_flags(datasets.apply_settings(config, settings))
    else:
        series, messages, _ = datasets.load_for(config)
    for message in messages:
        console.echo(message)
    workdir = FLAGS.workdir or f"runs/case{FLAGS.case}"
    if FLAGS.repeats > 1:
        table = repeat(series, config, FLAGS.repeats, Path(workdir), FLAGS.overwrite, console)
        console.echo(f"\n{table}\nmean ± standard deviation over splits: {workdir}/table.md and repeats.json")
        return
    run, report = train_and_report(series, config, workdir, FLAGS.overwrite, console, started)
    if not is_reporting():
        return
    wall = report.metrics["wall_s"]
    console.echo("")
    for text in (markdown(report.rows), *report.remarks):
        console.echo(text)
    console.echo(f"{sum(wall.values()):.0f} s: " + ", ".join(f"{part} {seconds:.0f}" for part, seconds in wall.items()))
    if FLAGS.report:
        from xrd_jax.commands.page import write_of_training

        console.echo(f"to look at: {write_of_training(run, report)}")
    curves = "" if run.choice else f"; curves: tensorboard --logdir {run.path}/tensorboard"
    console.echo(f"figures, predictions and metrics: {run.path}{curves}")


def inspect(console: Console) -> None:
    """Say what the data are, draw them, and write an experiment file to start from."""
    if not FLAGS.data:
        raise UserError("--mode=inspect needs --data=FOLDER, a file or an experiment file")
    from xrd_jax.commands import inspect

    inspect.inspect(FLAGS.data, FLAGS.workdir, FLAGS.json, FLAGS.data_root, FLAGS.cache, console)


def explain(console: Console) -> None:
    """Explain the run in --workdir."""
    if not FLAGS.workdir:
        raise UserError("--mode=explain needs --workdir=RUN, the directory of a finished run")
    initialise_devices()
    from xrd_jax.commands.explain import SUMMARY, explain, table
    from xrd_jax.explain.importance import sentences

    study = explain(FLAGS.workdir, FLAGS.methods, FLAGS.cif, FLAGS.importance, console)
    for line in ("", table(study), "", *sentences(study.rows)):
        console.echo(line)
    if FLAGS.report:
        from xrd_jax.commands.page import write_of_study

        console.echo(f"to look at: {write_of_study(study)}")
    console.echo(f"{FLAGS.workdir}: {SUMMARY}, importance.csv, explain_curves.csv, figures/explain_*")


def use_run(console: Console) -> None:
    """Predict, watch or export with a finished run.

    Raises:
      UserError: a flag that the mode needs is missing.
    """
    if not FLAGS.workdir:
        raise UserError(f"--mode={FLAGS.mode} needs --workdir=RUN, the directory of a finished run")
    if not FLAGS.data and FLAGS.mode != "export":
        raise UserError(f"--mode={FLAGS.mode} needs --data={'FOLDER' if FLAGS.mode == 'watch' else 'FILE or FOLDER'}")
    if FLAGS.until_idle < 0 or FLAGS.patience < 0:
        raise UserError("--until_idle and --patience are seconds, 0 or more")
    initialise_devices()
    if FLAGS.mode == "predict":
        from xrd_jax.commands.predict import predict

        predict(
            FLAGS.workdir, FLAGS.data, FLAGS.out, FLAGS.data_root, FLAGS.overwrite, FLAGS.cache, console, FLAGS.report
        )
    elif FLAGS.mode == "watch":
        from xrd_jax.commands.watch import watch

        watch(FLAGS.workdir, FLAGS.data, FLAGS.out, FLAGS.until_idle, FLAGS.patience, console=console)
    else:
        from xrd_jax.commands.export import export

        seed = FLAGS.seed if FLAGS["seed"].present else None  # without the flag, the mean over all seeds
        export(FLAGS.workdir, FLAGS.format, FLAGS.out, seed, FLAGS.overwrite, console)


def information(console: Console) -> None:
    """Write what is known about the simulated cell, and where the run in --workdir stands against it."""
    if FLAGS.data:
        raise UserError("--mode=information is about the simulated cell; leave --data out")
    config = apply_flags(base_config())
    initialise_devices()
    from xrd_jax.commands.information import report

    report(config, FLAGS.workdir or "runs/information", console.echo)


def ablate(console: Console) -> None:
    """Train all variants of one named ablation and show one table."""
    if FLAGS.ablation == "list":
        for name, variants in ABLATIONS.items():
            console.echo(f"{name}: {', '.join(variants)}")
        return
    if FLAGS.ablation not in ABLATIONS:
        raise UserError(f"--ablation={FLAGS.ablation}: the ablations are {', '.join(ABLATIONS)}")
    if FLAGS.data:
        raise UserError("--ablation runs on the simulated cell; leave --data out")
    config = apply_flags(base_config())
    initialise_runtime(config)
    from xrd_jax.commands.ablate import ablate

    workdir = Path(FLAGS.workdir or f"runs/ablation-{FLAGS.ablation}")
    table = ablate(ABLATIONS[FLAGS.ablation], config, workdir, FLAGS.overwrite, console)
    for line in ("", table, f"table: {workdir}/table.md; all curves: tensorboard --logdir {workdir}"):
        console.echo(line)


def main(argv: Sequence[str]) -> None:
    """Do what the flags ask for; a complaint is one line and exit code 2."""
    logging.set_verbosity(logging.WARNING)  # libraries' remarks would run through the progress bar
    ending.ignore_full_disks_in_threads()
    try:
        if len(argv) > 1:
            raise UserError(f"unexpected argument '{argv[1]}'; flags start with --, such as --case=3")
        console = Console(echo, FLAGS.progress)
        if FLAGS.mode == "inspect":
            inspect(console)
        elif FLAGS.mode in ("predict", "watch", "export"):
            use_run(console)
        elif FLAGS.mode == "explain":
            explain(console)
        elif FLAGS.mode == "information":
            information(console)
        elif FLAGS.ablation:
            ablate(console)
        else:
            train(console)
    except UserError as error:
        ending.leave(str(error))
    except OSError as error:  # a full disk shows wherever something is written
        ending.leave(f"{error.filename or FLAGS.workdir or 'the run directory'}: {error.strerror or error}")
    except (RuntimeError, ValueError) as error:
        if FLAGS.distributed:
            ending.leave_if_peer_failed(error)
        raise
    except KeyboardInterrupt:
        print("\ninterrupted; the same command resumes from the last checkpoint", file=sys.stderr)
        sys.exit(130)


def _parse(argv: Sequence[str]) -> list[str]:
    """absl's parser with its complaints in one line, and help that is no failure."""
    if is_asked(argv):
        print(help_text(flags.FLAGS, argv[0]))
        sys.exit(0)
    try:
        return flags.FLAGS(list(argv))
    except SystemExit:
        sys.exit(0)  # absl leaves with 1 after it has shown --helpfull
    except flags.Error as error:
        sys.exit(ending.complain(" ".join(str(error).split()) + " (--help lists the flags)"))


def run() -> None:
    """Read the flags and do what they ask for: launch.py, `python -m xrd_jax` and the command `xrd-jax`."""
    process.restart_with_allocator()
    app.run(main, flags_parser=_parse)
