"""Development tasks: `nox -s demo`, `serve`, `tests`, `browser`, `matrix`, `bench`, `evaluate`, `lint`.

Each makes the environment that it needs.
"""

import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent / "tools"))
from comfyui_host import HostNotFoundError, find_comfyui, needed_requirements

nox.needs_version = ">=2024.4"
nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests"]

# ComfyUI needs the three in matching versions; newer ones may have no counterpart.
TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
RUFF = "ruff==0.17.5"
# What Paint by Example is compared with; its pipeline is among those that later versions may drop.
DIFFUSERS = "diffusers==0.42.1"
# The second detector backend is installed without its pins, an old supervision and a second OpenCV; this is what it imports.
GROUNDING_DINO_IMPORTS = ("addict", "yapf", "timm", "matplotlib", "pycocotools")
# What the text networks must work with: the oldest that ComfyUI accepts, and the newest of both major versions.
TRANSFORMERS = ("transformers==4.50.3", "transformers<5", "transformers>=5")
TESTS_WITH_TRANSFORMERS = (
    "tests/unit/test_vocabulary.py",
    "tests/unit/test_grounding_dino.py",
    "tests/unit/test_transformers_loading.py",
    "tests/unit/test_sam_equivalence.py",
    "tests/graph/test_detect.py",
    "tests/graph/test_sam_mask.py",
)


def install_pack(session: nox.Session, *more: str) -> None:
    """Install this pack's requirements, and what else the session needs."""
    # Without compiled files every start of ComfyUI would compile its libraries again.
    # Some gigabytes the first time, so uv may show how far it is.
    session.install("--compile-bytecode", "-r", "requirements.txt", *TORCH, "scikit-image", *more, silent=False)


def host_requirements(session: nox.Session, with_frontend: bool = False) -> list[str]:
    """Find a ComfyUI for the session, or raise HostNotFoundError; what it needs to be installed."""
    comfyui = find_comfyui()
    session.env["COMFYUI_PATH"] = str(comfyui)
    return needed_requirements(comfyui, with_frontend)


def install_groundingdino(session: nox.Session) -> None:
    session.install(*GROUNDING_DINO_IMPORTS)
    session.install("--no-deps", "groundingdino-py>=0.4")


@nox.session
def demo(session: nox.Session) -> None:
    """Move an object between two pictures in a real headless ComfyUI; after -- the workflow, object_transfer by default."""
    try:
        install_pack(session, *host_requirements(session))
    except HostNotFoundError as error:
        session.error(str(error))
    session.run("python", "tools/demo.py", *session.posargs)


@nox.session
def serve(session: nox.Session) -> None:
    """Start ComfyUI with this pack and leave it running."""
    try:
        install_pack(session, *host_requirements(session, with_frontend=True))
    except HostNotFoundError as error:
        session.error(str(error))
    session.run("python", "tools/serve.py")


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests; arguments after -- go to pytest. Without a ComfyUI those that need one are skipped, or fail in CI."""
    try:
        install_pack(session, "pytest", DIFFUSERS, *host_requirements(session))
    except HostNotFoundError as error:
        session.warn(str(error))
        install_pack(session, "pytest", DIFFUSERS)
    install_groundingdino(session)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Test what the editor shows of the pack, in Chromium; without it or a ComfyUI the tests are skipped with a reason."""
    try:
        install_pack(session, "pytest", "playwright", *host_requirements(session, with_frontend=True))
    except HostNotFoundError as error:
        session.warn(str(error))
        install_pack(session, "pytest", "playwright")
    session.run("python", "-m", "pytest", *(session.posargs or ["tests/browser"]))


@nox.session
def matrix(session: nox.Session) -> None:
    """Run the tests of both text networks and of SAM with each version of transformers that they must work with."""
    try:
        install_pack(session, "pytest", *host_requirements(session))
    except HostNotFoundError as error:
        session.error(str(error))
    install_groundingdino(session)
    for version in TRANSFORMERS:
        session.install(version)
        session.run("python", "-m", "pytest", *(session.posargs or TESTS_WITH_TRANSFORMERS))


@nox.session
def bench(session: nox.Session) -> None:
    """Measure what blending costs beside its peers, about an hour; after -- the parts of deep_blend_speed.py, with options."""
    install_pack(session, "matplotlib")
    # Some machines lack the compiler that it wants; then its rows are left out.
    session.install("fpie", success_codes=[0, 1, 2])
    if not session.posargs:
        session.run("python", "benchmarks/poisson_speed.py")
    session.run("python", "benchmarks/deep_blend_speed.py", *(session.posargs or ["--plot", "benchmarks/cost.png"]))


@nox.session
def evaluate(session: nox.Session) -> None:
    """Compare all methods on all sets of pictures, a quarter of an hour; after -- the options of benchmarks/evaluate.py."""
    install_pack(session, "matplotlib")
    session.run("python", "benchmarks/evaluate.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install(RUFF)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
