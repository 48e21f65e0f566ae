"""The library exports what its header declares, and nothing else.

    symbols_test.py LIBRARY HEADER
"""

import re
import subprocess
import sys
from pathlib import Path

library, header = sys.argv[1:]
declared = set(re.findall(r"\b(plinth_\w+)\(", Path(header).read_text()))
listing = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True)
exported = {line.split()[-1] for line in listing.stdout.splitlines()}
assert len(declared) > 40, f"only {len(declared)} functions found in {header}"
if declared != exported:
    print("declared, but not exported:", sorted(declared - exported))
    print("exported, but not declared:", sorted(exported - declared))
    sys.exit(1)
