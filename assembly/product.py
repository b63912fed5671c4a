"""The verb `build`: the image, looked over, and the bundle that deploys it."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from assembly import Say
from assembly.bundle import BundlePlan, add_bundle_options, finish_bundle, plan_bundle
from assembly.context import stage_context
from assembly.image import ImagePlan, add_image_options, build_image, plan_image


def add_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `build` to the verbs of `build.py`."""
    parser = verbs.add_parser("build", help="build the image and write artifact.zip for Elastic Beanstalk")
    parser.add_argument(
        "--image",
        metavar="REGISTRY/NAME:TAG",
        help="name the image, and let instances pull it (`push` sends it); without, each instance builds its own",
    )
    add_image_options(parser)
    add_bundle_options(parser)
    parser.set_defaults(run=_run)


def plan_product(plan: ImagePlan, image: str | None, mode: str) -> BundlePlan:
    """Plan the bundle that goes with an image.

    Parameters
    ----------
    image
        Name that instances pull; None puts the image's inputs into the bundle instead.

    Raises
    ------
    AssemblyError
        The bundle cannot be put together.
    """
    root, overlays = plan.context.root, plan.context.overlays
    if image is not None:
        return plan_bundle(root, image=image, mode=mode, overlays=overlays)
    with tempfile.TemporaryDirectory(prefix="cellxgene-eb-") as folder:
        stage_context(plan.context, Path(folder))
        return plan_bundle(root, context=Path(folder), mode=mode, overlays=overlays)


def _run(options: argparse.Namespace, say: Say) -> None:
    plan = plan_image(options)
    bundle = plan_product(plan, options.image, options.mode)
    for line in plan.lines() if options.dry_run else build_image(plan, say).lines():
        say(line)
    finish_bundle(bundle, options.artifact, say, dry_run=options.dry_run)
