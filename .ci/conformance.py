"""Judges a report of Autobahn|Testsuite: conformance.py FORM index.json. Passed is what the suite calls OK, and what the
standard leaves open (INFORMATIONAL). What it took for not implemented, or passed by a weaker rule, is not passed."""
from __future__ import print_function

import collections
import json
import sys

form, path = sys.argv[1:]
with open(path) as f:
    cases = json.load(f)["depthcast"]
passed = ("OK", "INFORMATIONAL")
failed = [(case, r) for case, r in cases.items() if r["behavior"] not in passed or r["behaviorClose"] not in passed]
counts = collections.Counter(r["behavior"] for r in cases.values())
print("%-12s %d cases: %s" % (form, len(cases), ", ".join("%d %s" % (n, word) for word, n in counts.most_common())))
for case, r in sorted(failed):
    print("  not passed: %s: %s, close %s (%s)" % (case, r["behavior"], r["behaviorClose"], r["reportfile"]))
if failed or not cases:
    sys.exit(1)
