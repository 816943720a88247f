"""The same federated averaging in Flower's and NVFLARE's own words: logistic regression, five gradient steps a round, six sites."""

from __future__ import annotations

STEPS = """
import numpy as np

def steps(path, beta):
    rows = np.load(path)
    x, y = rows[:, :-1], rows[:, -1]
    for _ in range(5):
        beta = beta - 0.5 * x.T @ (1 / (1 + np.exp(-x @ beta)) - y) / len(y)
    return beta, len(y)
"""

FLOWER = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "averaging"
version = "1.0.0"
license = "Apache-2.0"
dependencies = ["flwr>=1.41"]
[tool.hatch.build.targets.wheel]
packages = ["."]
[tool.flwr.app]
publisher = "benchmark"
[tool.flwr.app.components]
serverapp = "averaging.server:app"
clientapp = "averaging.client:app"
[tool.flwr.app.config]
rounds = {rounds}
""",
    "averaging/__init__.py": "",
    "averaging/steps.py": STEPS,
    "averaging/server.py": """
import numpy as np
from flwr.app import ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()

@app.main()
def main(grid, context):
    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes={sites}, min_available_nodes={sites})
    strategy.start(grid=grid, initial_arrays=ArrayRecord([np.zeros({columns})]), num_rounds=context.run_config["rounds"])
    print("AVERAGED")
""",
    "averaging/client.py": """
from averaging.steps import steps
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()

@app.train()
def train(message, context):
    beta, rows = steps(context.node_config["data"], message.content["arrays"].to_numpy_ndarrays()[0])
    content = RecordDict({{"arrays": ArrayRecord([beta]), "metrics": MetricRecord({{"num-examples": rows}})}})
    return Message(content=content, reply_to=message)
""",
}

NVFLARE = {
    "steps.py": STEPS,
    "client.py": """
import sys
import numpy as np
import nvflare.client as flare
sys.path.insert(0, {folder!r})
from steps import steps

data = sys.argv[1]
flare.init()
while flare.is_running():
    model = flare.receive()
    beta, rows = steps(data, np.asarray(model.params.get("beta", np.zeros({columns}))))
    flare.send(flare.FLModel(params={{"beta": beta}}, meta={{"NUM_STEPS_CURRENT_ROUND": rows}}))
""",
    "job.py": """
import sys
from nvflare.app_common.workflows.fedavg import FedAvg
from nvflare.job_config.api import FedJob
from nvflare.job_config.script_runner import FrameworkType, ScriptRunner

job = FedJob(name="averaging")
job.to_server(FedAvg(num_clients={sites}, num_rounds={rounds}))
for number, data in enumerate(sys.argv[1:], 1):
    job.to(ScriptRunner(script="client.py", script_args=data, framework=FrameworkType.NUMPY), f"site-{{number}}")
job.simulator_run("work", threads={sites})
""",
}
