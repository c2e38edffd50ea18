"""A bench with clients: what it computes, what it counts, and what it refuses."""

import pytest

import coun
from coun.bench import bench, load, report, shipped
from coun.bench.spec.estimation import estimate
from coun.bench.spec.plan import make_plan
from coun.bench.spec.reading import parse
from coun.bench.spec.workload import data_spec
from coun.data.requests import Client
from coun.errors import CounError
from coun.federated import Federation

CONFIG = """
title = "clients"
seeds = [0]
[compute]
precision = "fp32"
[[workload]]
name = "digits"
model = "mlp"
data = { source = "digits", limit = 200, test_limit = 100 }
train = { epochs = 2 }
federation = { clients = 4, local_epochs = 2 }
[[scenario]]
kind = "client"
client = 2
[[method]]
name = "not"
label = "NoT"
[[method]]
name = "pgd"
label = "PGD"
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    (folder / "config.toml").write_text(CONFIG)
    return bench(folder / "config.toml", folder / "out", quiet=True), folder / "out"


def test_every_model_is_trained_by_the_clients(results):
    document, _ = results
    rows = {row["row"]: row for row in document["rows"]}
    assert set(rows) == {"Original", "Retrain", "Retrain again", "NoT", "PGD"}
    data = coun.load("digits", limit=200, test_limit=100)
    federation = Federation(clients=4, local_epochs=2)
    split = coun.Split.of(data, Client(client=2, partition=federation.partition))
    options = coun.Options(precision="fp32")
    original = coun.train(data, "mlp", federation=federation, epochs=2, options=options)
    forgot = coun.unlearn(original, split, "not", options=options)
    measured = coun.evaluate(forgot)
    for name in ("retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy"):
        assert rows["NoT"][name] == measured[name]
    assert rows["NoT"]["bytes_sent"] == forgot.record.cost.bytes_sent > 0


def test_the_report_shows_the_bytes(results):
    _, out = results
    report(out)
    text = (out / "report.md").read_text()
    assert "MiB sent" in text
    assert "client 2" in text


def test_a_federation_is_part_of_what_a_result_depends_on():
    request = 'kind = "class"\nname = "3"'
    text = CONFIG.replace('kind = "client"\nclient = 2', request).replace('"pgd"', '"finetune"')
    federation = "federation = { clients = 4, local_epochs = 2 }"
    plain = parse(text.replace(federation, ""))
    pair = [parse(text), parse(text.replace("local_epochs = 2", "local_epochs = 1"))]
    keys = [
        {model.experiment.key for model in make_plan(config).models} for config in (plain, *pair)
    ]
    assert not keys[0] & keys[1]
    assert not keys[1] & keys[2]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("federation = { clients = 4, local_epochs = 2 }", "", "has no clients, but a scenario"),
        ('name = "not"', 'name = "scrub"', "scrub does not train on retain rows alone"),
        ('kind = "client"\nclient = 2', 'kind = "sequential"', "sequential request cannot"),
        ("clients = 4", "clients = 0", "clients"),
        ("client = 2", "client = 4", "client 4, but workload digits has 4"),
        ('name = "pgd"', 'name = "rewind"', "no federation keeps any"),
        (
            "federation = { clients = 4, local_epochs = 2 }\n[[scenario]]\n"
            'kind = "client"\nclient = 2',
            '[[scenario]]\nkind = "class"\nname = "3"',
            "pgd works in a federation only",
        ),
    ],
)
def test_what_does_not_fit_is_refused(before, after, message):
    assert before in CONFIG
    with pytest.raises(CounError, match=message):
        parse(CONFIG.replace(before, after))


def test_the_shipped_config_is_that_of_the_paper_in_a_reduced_form():
    assert "federated/not.toml" in shipped()
    config = load("federated/not")
    federations = [workload.federation for workload in config.workload]
    assert [f.clients for f in federations] == [10, 10]
    assert [f.describe().split(",")[1] for f in federations] == [" iid", " dirichlet 0.1"]
    assert len(config.seeds) == 5


def test_images_are_scaled_where_the_config_says(shared):
    config = load("federated/not").model_copy(update={"data_root": (str(shared / "data"),)})
    data = data_spec(config, config.workload[0]).load()
    assert data.shape == (3, 32, 32)
    assert data.input_shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clients = 4": "clients = 300"}, "300 clients share 200 rows"),
        ({"clients = 4": "clients = 200"}, "none of the 200 clients has 2 rows"),
        ({"clients = 4": "clients = 1", "client = 2": "client = 0"}, "retain set is empty"),
        (
            {"clients = 4": 'spread = "dirichlet", clients = 50'},
            "200 Dirichlet partitions of 200 rows",
        ),
        ({"client = 2": "client = 2\npartition = { clients = 2 }"}, "client 2; expected 0 to 1"),
        ({'kind = "client"\nclient = 2': 'kind = "random"'}, "pgd needs rows of one client, but 4"),
        ({'label = "NoT"': 'contrast = { loss = "moco" }'}, "trains modules beside the model"),
        ({'name = "not"': 'name = "sisa"'}, "sisa trains several networks"),
        ({'label = "NoT"': "retain_access = 0.5"}, "leave retain_access out"),
    ],
)
def test_a_plan_refuses_what_the_clients_of_a_run_would_refuse(tmp_path, changes, message):
    text = CONFIG
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(CounError, match=message):
        estimate(tmp_path / "config.toml", timed=False)
    with pytest.raises(CounError, match=message):
        bench(tmp_path / "config.toml", tmp_path / "out", quiet=True)
    assert not (tmp_path / "out").exists()
