"""A maker that does what its order says: for tests of what attends makers."""

import json
import sys
import time

order = json.load(sys.stdin)
for line in order["says"]:
    print(json.dumps(line), flush=True)
time.sleep(order["lasts_s"])
