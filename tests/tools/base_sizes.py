"""Write `sizes.json` for each packaged base: `python -m tests.tools.base_sizes`."""

from __future__ import annotations

from kosent_hub.training.planning import model_sizes
from kosent_hub.training.planning.plan import BASES


def main() -> None:
    """Count every packaged base on its class."""
    for config in sorted(BASES.glob("*/config.json")):
        sizes = model_sizes.read(config, config.parent.name)
        (config.parent / "sizes.json").write_text(model_sizes.to_json(sizes), encoding="utf-8")
        print(f"{config.parent.name}: {sizes.parameters:,} parameters")


if __name__ == "__main__":
    main()
