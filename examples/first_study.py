"""A researcher's first study, against a running hub (`pumasi demo --keep` starts one and says where it is):

python examples/first_study.py https://127.0.0.1:8443 study.toml
"""

from __future__ import annotations

import sys

from pumasi.client import connect

hub, file = sys.argv[1:]
with connect(hub) as me:
    study = me.apply(file)
    study.wait_for_permits()
    model = study.glm("death14 ~ aspirin + age + conscious", family="binomial", table="patients")
    print(model.summary())
    study.done()
