"""Importing this makes the checkout importable as the package `deepblend`.

ComfyUI imports the pack as a package of its own, with relative imports only. Here the layers below the nodes are imported in
the same way, without running the registration in __init__.py, which needs ComfyUI.
"""

import sys
import types
from pathlib import Path

package = types.ModuleType("deepblend")
package.__path__ = [str(Path(__file__).resolve().parent.parent)]
sys.modules["deepblend"] = package
