# SPDX-License-Identifier: Apache-2.0
"""Throw mutated configurations at the parser for some seconds: a specification or a SpecError, nothing else.

usage: fuzz_spec.py SECONDS [SEED]
"""

from __future__ import annotations

import copy
import json
import random
import sys
import time

from boxship.errors import SpecError
from boxship.spec import oci
from boxship.spec.template import default_spec
from boxship.spec.validate import validate

RUBBISH = ["", "\0", "x" * 3000, 0, -1, 1 << 80, 1.5, True, None, [], {}, "/", "../..", "\udc80", [1], {"a": 1}]


def seeds() -> list[str]:
    """What the parser accepts, with as many of its parts as possible."""
    full = default_spec()
    full["hooks"] = {
        kind: [{"path": "/x", "args": ["x"], "env": ["A=1"], "timeout": 1}]
        for kind in ("prestart", "createRuntime", "poststop")
    }
    full["linux"] |= {
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": [], "syscalls": [{"names": ["a"], "action": "x", "args": [{"index": 1, "value": 1, "op": "x"}]}]},
        "sysctl": {"net.a": "1"}, "devices": [{"type": "c", "path": "/dev/x", "major": 1, "minor": 2, "fileMode": 1}],
        "timeOffsets": {"boottime": {"secs": 1}}, "personality": {"domain": "LINUX"}, "memoryPolicy": {"mode": "x", "nodes": "0"},
        "resources": {"memory": {"limit": 1}, "cpu": {"shares": 2}, "blockIO": {"weight": 10, "weightDevice": [{"major": 1, "minor": 1, "weight": 5}]},
                      "hugepageLimits": [{"pageSize": "2MB", "limit": 1}], "rdma": {"x": {"hcaHandles": 1}}, "unified": {"a.b": "c"}},
    }  # fmt: skip
    return [json.dumps(full), json.dumps(default_spec()), "{}", "[]"]


def mutate(text: str, dice: random.Random) -> bytes:
    """Either the text's bytes, or the values in it."""
    if dice.random() < 0.4:
        raw = bytearray(text.encode())
        for _ in range(dice.randint(1, 8)):
            at = dice.randrange(len(raw) + 1)
            raw[at : at + dice.randint(0, 3)] = bytes(dice.randrange(256) for _ in range(dice.randint(0, 4)))
        return bytes(raw)
    value = json.loads(text)
    for _ in range(dice.randint(1, 4)):
        _mutate_value(value, dice)
    return json.dumps(value).encode()


def _mutate_value(value: object, dice: random.Random) -> None:
    while isinstance(value, (dict, list)) and value:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = dice.choice(keys)
        inner = value[key]  # type: ignore[index]
        if not isinstance(inner, (dict, list)) or not inner or dice.random() < 0.3:
            value[key] = copy.deepcopy(dice.choice(RUBBISH))  # type: ignore[index]
            return
        value = inner


def main() -> int:
    """Run for the time that was given."""
    end, seed = time.monotonic() + float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns()
    dice, tried, accepted, texts = random.Random(seed), 0, 0, seeds()
    while time.monotonic() < end:
        raw = mutate(dice.choice(texts), dice)
        tried += 1
        try:
            validate(oci.load(raw))
            accepted += 1
        except SpecError:
            continue
        except Exception:
            sys.stderr.write(f"seed {seed}, try {tried}: {raw!r}\n")
            raise
    print(f"fuzz_spec: {tried} configurations, {accepted} accepted, no other error than SpecError")
    return 0


if __name__ == "__main__":
    sys.exit(main())
