"""``gpt1 runs verify-resume``: kill a run again and again, and compare."""

from __future__ import annotations

from dataclasses import asdict

from jsonargparse import ArgumentParser, Namespace

EXAMPLES = """\
gpt1 runs verify-resume runs/jokes
gpt1 runs verify-resume runs/mini --steps 30 --kills 20"""


def add_arguments(parser: ArgumentParser) -> None:
    """Which run, how long, how often."""
    parser.add_argument("run", help="Folder of a run; it is not changed.")
    parser.add_argument("--steps", type=int, default=10, help="Updates to make.")
    parser.add_argument("--kills", type=int, default=3, help="How often to kill it (SIGKILL).")
    parser.add_argument("--seed", type=int, default=0, help="Of the updates it is killed after.")
    parser.add_argument("--json", action="store_true", help="Print the result as one JSON object.")


def run(arguments: Namespace) -> int:
    """Verify; 1 if anything differs."""
    from gpt1.cli.progress import TrainingProgress, say
    from gpt1.cli.report import print_facts
    from gpt1.training.verify_resume import verify_resume

    proof = verify_resume(
        arguments.run,
        steps=arguments.steps,
        kills=arguments.kills,
        seed=arguments.seed,
        watch=TrainingProgress(),
    )
    facts = {**asdict(proof), "equal": proof.equal}
    if arguments.json:
        print_facts(facts, as_json=True)
        return 0 if proof.equal else 1
    shown = {
        "updates": proof.steps,
        "killed after": ", ".join(map(str, proof.killed_at)),
        "files compared": len(proof.compared),
        "differences": "; ".join(proof.differences) or "none: equal, bit for bit",
    }
    print_facts(shown, as_json=False)
    if not proof.equal:
        say("On a GPU sums may differ in their last bits; on a CPU this would be a bug.")
    return 0 if proof.equal else 1
