"""Where the real chest CTs lie."""

import os
from pathlib import Path

FOLDER = Path(os.environ.get("DRASCLR_TEST_CT", Path(__file__).parents[3] / "shared" / "ct"))
