"""Write the number of joined processes to a file, on the main process."""

import sys
from pathlib import Path

from reference_impl.experiments.training import accelerator, run_on_main_process


def write_together(file: Path) -> None:
    joined = accelerator("auto")

    def write() -> None:
        with file.open("a") as lines:
            lines.write(f"{joined.num_processes} processes\n")

    run_on_main_process(write)
    # Every process finds it there.
    assert file.exists()


if __name__ == "__main__":
    write_together(Path(sys.argv[1]))
