"""The options of a federation: from training to unlearning a client."""

TRAIN = ("train", "--data", "digits", "--limit", 200, "--model", "mlp", "--epochs", 8)
CLIENTS = ("--clients", 4, "--partition", "dirichlet:1", "--local-epochs", 2)


def test_a_client_is_forgotten(coun_command):
    done = coun_command(*TRAIN, *CLIENTS, "--out", "original", "--json")
    assert done.code == 0, done.err
    federation = done.json["method"]["settings"]["federation"]
    assert (federation["clients"], federation["alpha"], federation["local_epochs"]) == (4, 1, 2)
    forget = ("--forget-client", 1, "--method")
    done = coun_command("unlearn", "original", *forget, "not", "--out", "forgot")
    assert done.code == 0, done.err
    assert "client 1 of 4 clients, dirichlet 1" in done.err
    assert "sent between server and clients" in done.out
    done = coun_command("unlearn", "original", *forget, "auto", "--out", "by-rule")
    assert done.code == 0, done.err
    assert "method: coun, because " in done.err
    assert "CoUn reads retained rows only, for the whole request" in done.err
    done = coun_command("train", "--from-request", "forgot", "--out", "retrain")
    assert done.code == 0, done.err
    done = coun_command("evaluate", "forgot", "--against", "retrain", "--json")
    assert done.code == 0, done.err
    assert done.json["average_gap"] >= 0


def test_options_that_do_not_fit_are_refused(coun_command):
    for words, message in (
        (("--partition", "iid"), "need --clients; add --clients 10"),
        (("--clients", 0), "clients is 0; expected greater than or equal to 1"),
        (("--clients", 4, "--partition", "dirichlet:x"), "alpha is 'x'; expected a valid number"),
        (("--clients", 4, "--partition", "even"), "spread is 'even'; expected 'iid' or"),
        (("--forget-client", 1), "names client 1 but not how rows are divided"),
    ):
        done = coun_command(*TRAIN, *words, "--out", "x")
        assert done.code == 2
        assert message in done.err
