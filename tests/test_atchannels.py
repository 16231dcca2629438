"""What channels, their MQTT broker and the way back of answers must fulfil, as ``mrdaemon check`` says it."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from mrdaemon.asks import ASKS
from mrdaemon.config import read
from mrdaemon.findings import ConfigError
from tests.mosquitto import Certificates
from tests.running import Object, Outcome, mrdaemon

"""Apprise imports it."""
SECRET = "hunter2"
PHONE = f'[channels.phone]\nkind = "push"\nurls = ["json://127.0.0.1:9/{SECRET}"]'
HOME = '[channels.home]\nkind = "mqtt"'
MQTT = '[mqtt]\nhost = "localhost"'
TOPIC = "https://ntfy.sh/mrdaemon-91d7e2c4a6b8f0"
LONG_WAY = '[answers]\nlisten = "127.0.0.1:8377"\nurl = "https://home.example/mrdaemon"'


def check(folder: Path, *tables: str, mode: str = "alert", env: dict[str, str] | None = None) -> Outcome:
    """Check a configuration that is right but for these tables; what is secret in them is not told."""
    (folder / "QQQ.csv").touch()
    config = folder / "my.toml"
    config.write_text(
        '[feed]\nkind = "file"\nfiles = ["QQQ.csv"]\n[accounts.paper]\nbroker = "paper"\n'
        f'[portfolios.core]\naccount = "paper"\nreserve = "5000"\nmode = "{mode}"\n'
        '[portfolios.core.positions.QQQ]\ntarget = "5000"\nshares = "50"\n' + "\n".join(tables)
    )
    outcome = mrdaemon("check", "-c", config, "--state", folder / "state", env=env)
    assert SECRET not in outcome.out + outcome.err
    return outcome


def problems(outcome: Outcome) -> list[str]:
    assert outcome.code == 78, outcome
    return [line.partition("my.toml: ")[2] or line for line in outcome.err.splitlines()]


def remarks(outcome: Outcome) -> list[str]:
    """Give what is said between what the configuration holds and what it would change."""
    assert outcome.code == 0, outcome.err
    return outcome.out.splitlines()[1:-1]


# What goes where


def test_check_says_what_goes_where(tmp_path: Path) -> None:
    phone = PHONE + '\nquiet = "22:00-07:00"\ntopics = ["signal", "safety"]'
    home = HOME + '\ncommands = ["pause", "reject"]\nhomeassistant = true'
    [told] = remarks(check(tmp_path, phone, home, MQTT + f'\nuser = "me"\npassword = "{SECRET}"'))
    assert told == (
        "Alerts: phone (push to 1 address, notice and above, of signal, safety only, quiet 22:00-07:00), "
        "home (MQTT, everything, in Home Assistant, commands: pause, reject)."
    )


def test_programs_get_what_goes_where_among_the_notes(tmp_path: Path) -> None:
    check(tmp_path, PHONE + '\nlevel = "critical"')
    object_: Object = mrdaemon("check", "--json", "-c", tmp_path / "my.toml", "--state", tmp_path / "s").objects[0]
    assert object_["notes"] == ["Alerts: phone (push to 1 address, only what is critical)."]


def test_without_channels_nothing_is_said_of_them(tmp_path: Path) -> None:
    assert remarks(check(tmp_path)) == []


def test_alerts_without_a_channel_are_pointed_out(tmp_path: Path) -> None:
    table = "[alerts]\ndigest = false"
    assert remarks(check(tmp_path, table)) == [
        "Nothing uses [alerts]: there is no channel, so nobody is told anything."
    ]
    assert len(remarks(check(tmp_path, table, PHONE))) == 1


def test_quiet_hours_of_the_only_channel_are_worth_a_remark(tmp_path: Path) -> None:
    quiet = PHONE + '\nquiet = "22:00-07:00"'
    said = "In the hours 22:00-07:00 nobody is told of what is not critical: phone is the only channel."
    assert said in remarks(check(tmp_path, quiet))
    assert said not in remarks(check(tmp_path, quiet, HOME, MQTT))


# Each kind has its own settings


@pytest.mark.parametrize("setting", ['urls = ["json://x/y"]', "buttons = true", "buttons = false"])
def test_what_is_for_push_alone_is_refused_over_mqtt(tmp_path: Path, setting: str) -> None:
    [problem] = problems(check(tmp_path, f"{HOME}\n{setting}", MQTT))
    key = setting.partition(" ")[0]
    assert problem.startswith(f'channels.home.{key}: a channel of kind "mqtt" has no use for this; take it out')


@pytest.mark.parametrize("setting", ['commands = ["pause"]', "homeassistant = true", 'discovery = "ha"', "every = 5"])
def test_what_is_for_mqtt_alone_is_refused_for_push(tmp_path: Path, setting: str) -> None:
    [problem] = problems(check(tmp_path, f"{PHONE}\n{setting}"))
    key = setting.partition(" ")[0]
    assert problem.startswith(f'channels.phone.{key}: a channel of kind "push" has no use for this; take it out')


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ('level = "loud"', 'level: wanted "info", "notice", "warning" or "critical" (got "loud")'),
        ('topics = ["signals"]', "topics.0: wanted "),
        ("topics = []", "topics: wanted at least one (got [])"),
        ('quiet = "22-7"', 'quiet: wanted a span of the day such as "22:00-07:00" (got "22-7")'),
        ('quiet = "22:00-24:00"', "quiet: wanted a span of the day"),
        ('quiet = "07:00-07:00"', 'quiet: wanted a span of the day such as "22:00-07:00", of less than a day'),
        ("timeout = 0", 'timeout: wanted more than "0s" (got 0)'),
        ('repeat = "sometimes"', "repeat: wanted a duration"),
        ('url = "json://x/hunter2"', "url: there is no such setting; did you mean 'urls'? (got a value that is not"),
        ('pasword = "hunter2"', "pasword: there is no such setting (got a value that is not shown)"),
    ],
)
def test_a_wrong_value_of_a_channel_is_told(tmp_path: Path, setting: str, told: str) -> None:
    [problem] = problems(check(tmp_path, f"{PHONE}\n{setting}"))
    assert problem.startswith(f"channels.phone.{told}")


@pytest.mark.parametrize("kind", ["", 'kind = "sms"', "kind = 5"])
def test_a_channel_of_no_kind_is_one_problem(tmp_path: Path, kind: str) -> None:
    [problem] = problems(check(tmp_path, f'[channels.phone]\n{kind}\nurls = ["json://x/{SECRET}"]'))
    assert problem.startswith("channels.phone.kind: ")


def test_a_channel_that_is_no_table_is_told_and_not_shown(tmp_path: Path) -> None:
    assert problems(check(tmp_path, f'[channels]\nphone = "json://x/{SECRET}"')) == [
        "channels.phone: wanted a table (got a value that is not shown)"
    ]


# Addresses


def test_push_needs_an_address_and_is_told_where_it_may_stand(tmp_path: Path) -> None:
    [problem] = problems(check(tmp_path, '[channels.my-phone]\nkind = "push"'))
    assert problem == (
        'channels.my-phone.urls: wanted addresses such as "ntfy://ntfy.sh/topic", best from the environment '
        "(MRDAEMON_CHANNELS__MY_PHONE__URLS) or a secrets directory, one a line (got nothing)"
    )


@pytest.mark.parametrize(
    ("urls", "place"),
    [
        (f"ntfi://ntfy.sh/{SECRET}", 0),
        (f"{SECRET}", 0),
        (f"ntfy://ntfy.sh/{SECRET},json://x/y", 0),
        (f"ntfy://ntfy.sh/{SECRET}, other", 0),
        (f"mailto://{SECRET}", 0),
        (f"https://example.org/{SECRET}", 0),
        (f'json://x/{SECRET}", "tgram://{SECRET}', 1),
        (f'json://x/{SECRET}", "json://x/{SECRET}', 1),
    ],
    ids=["typo", "no address", "two in one", "comma", "half", "unknown", "second", "twice"],
)
def test_an_address_that_apprise_would_drop_is_told_by_its_place_and_not_shown(
    tmp_path: Path, urls: str, place: int
) -> None:
    [problem] = problems(check(tmp_path, f'[channels.phone]\nkind = "push"\nurls = ["{urls}"]'))
    assert problem.startswith(f"channels.phone.urls.{place}: ")
    assert problem.endswith("(got a value that is not shown)")


def test_every_wrong_address_is_told(tmp_path: Path) -> None:
    urls = f'["json://x/y", "ntfi://{SECRET}", 5, "{SECRET}"]'
    told = problems(check(tmp_path, f'[channels.phone]\nkind = "push"\nurls = {urls}'))
    assert {each.split(": ")[0] for each in told} >= {"channels.phone.urls.2"}


def test_addresses_may_come_from_the_environment_as_json_or_one_a_line(tmp_path: Path) -> None:
    phone = '[channels.phone]\nkind = "push"'
    for text in (f'["json://x/{SECRET}", "json://y"]', f"\n# mine\njson://x/{SECRET}\r\n  json://y\n\n"):
        [told] = remarks(check(tmp_path, phone, env={"MRDAEMON_CHANNELS__PHONE__URLS": text}))
        assert told.startswith("Alerts: phone (push to 2 addresses, ")


def test_a_wrong_address_in_the_environment_is_told_by_the_variables_name(tmp_path: Path) -> None:
    env = {"MRDAEMON_CHANNELS__PHONE__URLS": f"json://x\nntfi://{SECRET}"}
    [problem] = problems(check(tmp_path, '[channels.phone]\nkind = "push"', env=env))
    assert problem.startswith("environment: MRDAEMON_CHANNELS__PHONE__URLS: channels.phone.urls.1: ")


# Over MQTT


def test_a_channel_over_mqtt_needs_a_broker(tmp_path: Path) -> None:
    assert problems(check(tmp_path, HOME)) == [
        """channels.home.kind: wanted a table [mqtt] as well, with the broker's host (got "mqtt")"""
    ]


def test_a_misspelt_table_does_not_make_the_broker_missing(tmp_path: Path) -> None:
    assert problems(check(tmp_path, HOME, MQTT.replace("mqtt", "mqt"))) == [
        "mqt: there is no such setting; did you mean 'mqtt'? (got a table of host)"
    ]


def test_a_channel_cannot_be_called_as_the_way_back_is(tmp_path: Path) -> None:
    [problem] = problems(check(tmp_path, PHONE.replace("phone", "answers")))
    assert problem.startswith("channels.answers: this is what the topic over which answers come in is called")


def test_two_channels_over_mqtt_would_be_one(tmp_path: Path) -> None:
    [problem] = problems(check(tmp_path, HOME, HOME.replace("home", "hall"), MQTT))
    assert problem.startswith("channels.hall: channel home goes over MQTT already, and both would have the same topics")


@pytest.mark.parametrize(
    ("commands", "told"),
    [
        ('["pause", "aprove"]', "1: there is no such command; did you mean 'approve'? (got \"aprove\")"),
        ('["Pause"]', "0: there is no such command; did you mean 'pause'?"),
        ('["dance"]', f"0: there is no such command; there are: {', '.join(ASKS)}"),
        ('["pause", "pause"]', "1: wanted each command once"),
        ('["+"]', "0: there is no such command"),
    ],
)
def test_a_command_that_there_is_not_is_told(tmp_path: Path, commands: str, told: str) -> None:
    [problem] = problems(check(tmp_path, f"{HOME}\ncommands = {commands}", MQTT))
    assert problem.startswith(f"channels.home.commands.{told}")


def test_every_command_can_be_taken_and_those_that_move_money_are_pointed_out(tmp_path: Path) -> None:
    commands = ", ".join(f'"{each}"' for each in ASKS)
    said = remarks(check(tmp_path, f"{HOME}\ncommands = [{commands}]", MQTT))
    [warning] = [each for each in said if "may publish" in each]
    assert warning == (
        "Whoever may publish below mrdaemon/mrdaemon/cmd/ can resume, approve, fill, deposit, withdraw, target: "
        "see that the MQTT broker lets only you."
    )


def test_commands_from_a_broker_that_asks_nobodys_name_are_pointed_out(tmp_path: Path) -> None:
    safe = f'{HOME}\ncommands = ["pause"]'
    said = "home takes commands from an MQTT broker that asks nobody who they are: see that only you reach it."
    assert said in remarks(check(tmp_path, safe, MQTT))
    assert said not in remarks(check(tmp_path, safe, f'{MQTT}\nuser = "me"\npassword = "{SECRET}"'))
    assert said not in remarks(check(tmp_path, HOME, MQTT))


@pytest.mark.parametrize("topic", ["ha/+", "#", "/ha", "ha/", "a//b", "$SYS", " ha", "", "h\\ta"])
def test_a_place_where_home_assistant_cannot_look_is_told(tmp_path: Path, topic: str) -> None:
    [problem] = problems(check(tmp_path, f'{HOME}\nhomeassistant = true\ndiscovery = "{topic}"', MQTT))
    assert problem.startswith("channels.home.discovery: wanted ")


def test_a_place_to_look_without_anything_to_find_is_refused(tmp_path: Path) -> None:
    [problem] = problems(check(tmp_path, f'{HOME}\ndiscovery = "ha"', MQTT))
    assert problem.startswith("channels.home.discovery: this is for homeassistant = true")
    assert check(tmp_path, f'{HOME}\ndiscovery = "ha/deep"\nhomeassistant = true', MQTT).code == 0


def test_home_assistant_without_commands_has_no_buttons(tmp_path: Path) -> None:
    said = "Home Assistant gets no buttons from home: it takes no commands, as long as commands names none."
    assert said in remarks(check(tmp_path, f"{HOME}\nhomeassistant = true", MQTT))


def test_a_broker_that_nobody_uses_is_pointed_out(tmp_path: Path) -> None:
    assert remarks(check(tmp_path, MQTT)) == ["Nothing uses [mqtt]: neither the feed nor a channel is of kind mqtt."]


# The connection


@pytest.mark.parametrize("host", ["mqtt://localhost", "localhost:1883", "me@localhost", "a host", "[::1]", "", "höst"])
def test_a_host_is_a_name_or_an_address_alone(tmp_path: Path, host: str) -> None:
    [problem] = problems(check(tmp_path, HOME, f'[mqtt]\nhost = "{host}"'))
    assert problem.startswith("mqtt.host: wanted ")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "core-mosquitto", "broker.example", "my_broker"])
def test_a_host_may_be_of_any_kind(tmp_path: Path, host: str) -> None:
    assert check(tmp_path, HOME, f'[mqtt]\nhost = "{host}"').code == 0


def test_a_login_in_a_host_is_not_shown(tmp_path: Path) -> None:
    assert check(tmp_path, HOME, f'[mqtt]\nhost = "mqtt://me:{SECRET}@localhost"').code == 78


@pytest.mark.parametrize(
    ("setting", "key"), [("port = 0", "port"), ("port = 65536", "port"), ("version = 5", "version")]
)
def test_a_wrong_value_of_the_broker_is_told(tmp_path: Path, setting: str, key: str) -> None:
    [problem] = problems(check(tmp_path, HOME, f"{MQTT}\n{setting}"))
    assert problem.startswith(f"mqtt.{key}: wanted ")


def test_a_user_without_a_password_is_asked_for_it_with_the_name_of_its_variable(tmp_path: Path) -> None:
    tables = (HOME, f'{MQTT}\nuser = "me"')
    [problem] = problems(check(tmp_path, *tables))
    assert problem.startswith("mqtt.password: wanted the user's, best from the environment (MRDAEMON_MQTT__PASSWORD)")
    assert check(tmp_path, *tables, env={"MRDAEMON_MQTT__PASSWORD": SECRET}).code == 0


def test_a_password_needs_its_user(tmp_path: Path) -> None:
    [problem] = problems(check(tmp_path, HOME, f'{MQTT}\npassword = "{SECRET}"'))
    assert problem == "mqtt.user: wanted the user whose password is given (got nothing)"


@pytest.mark.parametrize("name", ["mqtt__password", "mrdaemon_mqtt__password", "MRDAEMON_MQTT__PASSWORD"])
def test_a_password_may_come_from_a_secrets_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / name).write_text(f"{SECRET}\n")
    env = {"MRDAEMON_SECRETS_DIR": str(tmp_path / "secrets")}
    assert check(tmp_path, HOME, f'{MQTT}\nuser = "me"', env=env).code == 0


def test_a_password_without_its_table_is_told(tmp_path: Path) -> None:
    [problem] = problems(check(tmp_path, PHONE, env={"MRDAEMON_MQTT__PASSWORD": SECRET}))
    assert problem == (
        "environment: MRDAEMON_MQTT__PASSWORD: mqtt.password: the file has no [mqtt], to which this could belong "
        "(got a value that is not shown)"
    )


@pytest.mark.parametrize("name", ["MRDAEMON_MQTT__PASSWORT", "MRDAEMON_MQTT__PW", "MRDAEMON_CHANNELS__HOME__URL"])
def test_a_misspelt_variable_does_not_show_its_secret(tmp_path: Path, name: str) -> None:
    [problem] = problems(check(tmp_path, HOME, MQTT, env={name: SECRET}))
    assert problem.startswith(f"environment: {name}: ")
    assert "there is no such setting" in problem


def test_a_password_that_goes_unencrypted_to_another_machine_is_pointed_out(tmp_path: Path) -> None:
    login = f'user = "me"\npassword = "{SECRET}"'
    said = "The password for the MQTT broker goes to broker.example unencrypted: set tls = true there and here."
    away = f'[mqtt]\nhost = "broker.example"\n{login}'
    assert said in remarks(check(tmp_path, HOME, away))
    assert said not in remarks(check(tmp_path, HOME, f"{away}\ntls = true"))
    assert not any("unencrypted" in each for each in remarks(check(tmp_path, HOME, f"{MQTT}\n{login}")))


@pytest.mark.parametrize(("port", "tls", "usually"), [(8883, "false", "with TLS"), (1883, "true", "without TLS")])
def test_an_odd_port_is_pointed_out(tmp_path: Path, port: int, tls: str, usually: str) -> None:
    said = remarks(check(tmp_path, HOME, f"{MQTT}\nport = {port}\ntls = {tls}"))
    assert any(f"Port {port} is usually one {usually}" in each for each in said)


# Certificates


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "certificates")


def with_tls(*lines: str) -> str:
    return "\n".join([MQTT, "tls = true", *lines])


def certificate_and_key(certificate: Path, key: Path) -> str:
    return f'certificate = "{certificate}"\nkey = "{key}"'


def test_certificates_relative_to_the_file_are_good(tmp_path: Path, certificates: Certificates) -> None:
    mine = 'certificate = "certificates/client.pem"\nkey = "certificates/client.key"'
    assert not [
        each
        for each in remarks(check(tmp_path, HOME, with_tls('ca = "certificates/ca.pem"', mine)))
        if "certif" in each
    ]


def test_certificates_without_tls_are_refused(tmp_path: Path, certificates: Certificates) -> None:
    mine = f'ca = "{certificates.ca}"\n{certificate_and_key(*certificates.client)}'
    told = problems(check(tmp_path, HOME, f"{MQTT}\n{mine}"))
    assert [each.split(": ")[0] for each in told] == ["mqtt.ca", "mqtt.certificate", "mqtt.key"]
    assert all("this is for TLS: wanted tls = true" in each for each in told)


def test_certificate_and_key_come_together(tmp_path: Path, certificates: Certificates) -> None:
    certificate, key = certificates.client
    [problem] = problems(check(tmp_path, HOME, with_tls(f'certificate = "{certificate}"')))
    assert problem.startswith("mqtt.key: wanted the file with the certificate's key")
    [problem] = problems(check(tmp_path, HOME, with_tls(f'key = "{key}"')))
    assert problem.startswith("mqtt.certificate: wanted the certificate that the key belongs to")


def test_a_key_in_its_certificates_file_is_good(tmp_path: Path, certificates: Certificates) -> None:
    certificate, key = certificates.client
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    assert check(tmp_path, HOME, with_tls(certificate_and_key(both, both))).code == 0


CUT = b"-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIU\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("key", ["ca", "certificate"])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "there is no such file"),
        (b"", "wanted a certificate in PEM, which begins with -----BEGIN CERTIFICATE-----"),
        (b"\x30\x82\x01\x0a\x02", "wanted a certificate in PEM, which begins"),
        (CUT, "wanted a certificate in PEM; what stands in this one cannot be read"),
        (CUT.replace(b"MIIB", b"!!!!"), "wanted a certificate in PEM"),
        (b"x" * 4_000_001, "wanted a file of at most 4,000,000 bytes"),
    ],
    ids=["missing", "empty", "DER", "cut off", "no base64", "huge"],
)
def test_a_file_that_is_no_certificate_is_told(
    tmp_path: Path, certificates: Certificates, key: str, content: bytes | None, what: str
) -> None:
    file = tmp_path / "wrong.pem"
    if content is not None:
        file.write_bytes(content)
    line = f'ca = "{file}"' if key == "ca" else certificate_and_key(file, certificates.client[1])
    [problem] = problems(check(tmp_path, HOME, with_tls(line)))
    assert problem.startswith(f"mqtt.{key}: {what}")
    assert problem.endswith(f'(got "{file}")') or len(str(file)) > 78


def test_a_folder_is_no_certificate(tmp_path: Path) -> None:
    [problem] = problems(check(tmp_path, HOME, with_tls(f'ca = "{tmp_path}"')))
    assert problem.startswith("mqtt.ca: it cannot be read: Is a directory")


def test_anothers_key_is_told(tmp_path: Path, certificates: Certificates) -> None:
    pair = certificate_and_key(certificates.client[0], certificates.server[1])
    [problem] = problems(check(tmp_path, HOME, with_tls(pair)))
    assert problem.startswith("mqtt.key: wanted the key that belongs to the certificate; this is another one's")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "there is no such file"),
        (b"no key", "wanted a private key in PEM"),
    ],
    ids=["missing", "no key"],
)
def test_a_file_that_is_no_key_is_told(
    tmp_path: Path, certificates: Certificates, content: bytes | None, what: str
) -> None:
    key = tmp_path / "wrong.key"
    if content is not None:
        key.write_bytes(content)
    [problem] = problems(check(tmp_path, HOME, with_tls(certificate_and_key(certificates.client[0], key))))
    assert problem.startswith(f"mqtt.key: {what}")


def test_a_key_with_a_pass_phrase_is_refused_and_nobody_is_asked_for_it(
    tmp_path: Path, certificates: Certificates
) -> None:
    certificate, key = certificates.client
    locked = tmp_path / "locked.key"
    opened = serialization.load_pem_private_key(key.read_bytes(), None)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    locked.write_bytes(opened.private_bytes(*form, serialization.BestAvailableEncryption(b"phrase")))
    [problem] = problems(check(tmp_path, HOME, with_tls(certificate_and_key(certificate, locked))))
    assert problem.startswith("mqtt.key: wanted a key without a pass phrase: nobody is there to type it")


def test_a_certificate_that_has_expired_is_pointed_out_and_keeps_nobody_from_starting(
    tmp_path: Path, certificates: Certificates
) -> None:
    said = remarks(check(tmp_path, HOME, with_tls(certificate_and_key(*certificates.expired))))
    [remark] = [each for each in said if "expired on" in each]
    assert re.search(r"expired\.pem expired on \d{4}-\d\d-\d\d: the MQTT broker cannot be reached with it\.$", remark)


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [(-10, 5, "expires on"), (2, 50, "begins on"), (-10, 50, None), (-20_000, 36_500, None)],
    ids=["soon", "not yet", "long enough", "for centuries"],
)
def test_a_certificates_time_is_looked_at(tmp_path: Path, begin: int, end: int, said: str | None) -> None:
    now = dt.datetime.now(dt.UTC)
    leaf = trustme.CA().issue_cert(
        "me.example", not_before=now + dt.timedelta(days=begin), not_after=now + dt.timedelta(days=end)
    )
    certificate, key = tmp_path / "my.pem", tmp_path / "my.key"
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(key)
    told = [
        each
        for each in remarks(check(tmp_path, HOME, with_tls(certificate_and_key(certificate, key))))
        if "certificate in" in each
    ]
    assert (said is None and not told) or (said is not None and said in told[0])


# The way back of answers


def test_both_ways_back_are_good(tmp_path: Path) -> None:
    answers = f'{LONG_WAY}\ntopic = "{TOPIC}"\ntoken = "tk_{SECRET}"'
    assert len(remarks(check(tmp_path, PHONE, answers, mode="approve"))) == 1


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('listen = "127.0.0.1:8377"', "url: wanted the address of that as a phone sees it"),
        ('url = "https://home.example"', "listen: wanted where the daemon takes what comes to that address"),
        (f'token = "{SECRET}"', "topic: wanted the topic that the token is for"),
        ('tokn = "hunter2"', "tokn: there is no such setting; did you mean 'token'? (got a value that is not shown)"),
    ],
)
def test_half_a_way_back_is_told(tmp_path: Path, line: str, told: str) -> None:
    [problem] = problems(check(tmp_path, PHONE, f"[answers]\n{line}"))
    assert problem.startswith(f"answers.{told}")


@pytest.mark.parametrize(
    "listen", ["8377", ":8377", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "::1:8377", "http://x:1"]
)
def test_where_to_listen_is_an_address_and_a_port(tmp_path: Path, listen: str) -> None:
    [problem] = problems(check(tmp_path, PHONE, LONG_WAY.replace("127.0.0.1:8377", listen)))
    assert problem.startswith('answers.listen: wanted an address and a port such as "127.0.0.1:8377"')


@pytest.mark.parametrize("listen", ["localhost:1", "[::1]:8377", "0.0.0.0:65535"])
def test_where_to_listen_may_be_any_address(tmp_path: Path, listen: str) -> None:
    assert check(tmp_path, PHONE, LONG_WAY.replace("127.0.0.1:8377", listen)).code == 0


@pytest.mark.parametrize(
    "url",
    [
        "home.example",
        "ftp://home.example",
        "https://",
        "https://me:hunter2@home.example",
        "https://h/?x=1",
        "https://h:x",
    ],
)
def test_the_address_that_a_phone_opens_is_one_of_the_web(tmp_path: Path, url: str) -> None:
    [problem] = problems(check(tmp_path, PHONE, LONG_WAY.replace("https://home.example/mrdaemon", url)))
    assert problem.startswith("answers.url: wanted the address that a phone can open")


@pytest.mark.parametrize(
    "topic",
    [
        "mrdaemon-91d7e2c4a6b8f0",
        "ntfy://ntfy.sh/mrdaemon-91d7e2c4a6b8f0",
        "https://ntfy.sh",
        "https://ntfy.sh/",
        "https://ntfy.sh/mrdaemon-91d7e2c4a6b8f0/json",
        "https://ntfy.sh/mrdaemon-91d7e2c4a6b8f0?auth=hunter2",
        "https://me:hunter2@ntfy.sh/mrdaemon-91d7e2c4a6b8f0",
        "https://ntfy.sh/mrdaemon 91d7e2c4a6b8f0",
        f"https://ntfy.sh/{'a' * 65}",
    ],
)
def test_a_topic_is_an_address_with_one_name(tmp_path: Path, topic: str) -> None:
    [problem] = problems(check(tmp_path, PHONE, f'[answers]\ntopic = "{topic}"'))
    assert problem.startswith("answers.topic: wanted the address of a topic, with one name")
    assert problem.endswith("(got a value that is not shown)")


def test_a_topic_that_may_be_guessed_is_refused_with_one_that_may_not(tmp_path: Path) -> None:
    [problem] = problems(check(tmp_path, PHONE, f'[answers]\ntopic = "https://ntfy.sh/{"x" * 15}"'))
    suggested = re.search(r'wanted a name of at least 16 characters that nobody guesses, such as "([^"]+)"', problem)
    assert suggested is not None
    good = f'[answers]\ntopic = "https://ntfy.sh/{suggested[1]}"'
    assert check(tmp_path, PHONE, good).code == 0
    [again] = problems(check(tmp_path, PHONE, f'[answers]\ntopic = "https://ntfy.sh/{"x" * 15}"'))
    assert suggested[1] not in again, "what is suggested to everybody is guessed"


def test_answers_do_not_go_where_alerts_go(tmp_path: Path) -> None:
    phone = PHONE.replace(f"json://127.0.0.1:9/{SECRET}", "ntfys://ntfy.sh/mrdaemon-91d7e2c4a6b8f0?priority=high")
    [problem] = problems(check(tmp_path, phone, f'[answers]\ntopic = "{TOPIC}"'))
    assert problem.startswith("answers.topic: wanted another topic than that on which channel phone sends alerts")


def test_positions_that_ask_nobody_are_pointed_out(tmp_path: Path) -> None:
    [said] = remarks(check(tmp_path, mode="approve"))
    assert said.startswith("Positions in approve mode ask, and no channel tells you: ")
    assert remarks(check(tmp_path, mode="auto")) == []


def test_positions_whose_requests_have_no_buttons_are_pointed_out(tmp_path: Path) -> None:
    said = "What phone asks has no buttons, since [answers] names no way back: answer with mrdaemon approve."
    assert said in remarks(check(tmp_path, PHONE, mode="approve"))
    without = remarks(check(tmp_path, PHONE + "\nbuttons = false", mode="approve"))
    assert not any("has no buttons" in each for each in without)
    assert said not in remarks(check(tmp_path, PHONE, LONG_WAY, mode="approve"))


@pytest.mark.parametrize("channel", ["", PHONE + "\nbuttons = false", f"{HOME}\n{MQTT}"])
def test_a_way_back_that_nobody_uses_is_pointed_out(tmp_path: Path, channel: str) -> None:
    said = "Nothing uses [answers]: no channel of kind push carries buttons."
    assert said in remarks(check(tmp_path, channel, LONG_WAY))


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (LONG_WAY.replace("127.0.0.1", "192.168.1.20"), "Others in the network reach 192.168.1.20:8377"),
        (LONG_WAY.replace("https:", "http:"), "Answers go to answers.url without encryption"),
        (f'[answers]\ntopic = "{TOPIC.replace("https", "http")}"', "Answers go to answers.topic without encryption"),
    ],
)
def test_a_way_back_that_others_may_walk_is_pointed_out(tmp_path: Path, answers: str, said: str) -> None:
    assert any(each.startswith(said) for each in remarks(check(tmp_path, PHONE, answers)))


def test_a_way_back_within_the_machine_needs_no_encryption(tmp_path: Path) -> None:
    local = LONG_WAY.replace("https://home.example", "http://localhost:8377")
    assert len(remarks(check(tmp_path, PHONE, local))) == 1


# Everything at once


def test_every_problem_of_alerts_is_told_at_once(tmp_path: Path) -> None:
    told = problems(
        check(
            tmp_path,
            f'{HOME}\ncommands = ["dance"]\nevery = 0',
            f'[channels.phone]\nkind = "push"\nurls = ["ntfi://{SECRET}"]',
            '[mqtt]\nport = "x"\nca = "none.pem"\ntls = true',
            '[answers]\nlisten = "x"\ntopic = 5',
            '[alerts]\ninstance = "My House"\nremind = "never"\nreserve_low = "200%"\ntimezone = "Mars"',
        )
    )
    assert [each.split(": ")[0] for each in told] == [
        "alerts.instance",
        "alerts.remind",
        "alerts.reserve_low",
        "alerts.timezone",
        "answers.listen",
        "answers.topic",
        "answers.url",
        "channels.home.commands.0",
        "channels.home.every",
        "channels.phone.urls.0",
        "mqtt.ca",
        "mqtt.host",
        "mqtt.port",
    ]


def test_a_wrong_configuration_is_not_used_by_the_daemon_either(tmp_path: Path) -> None:
    check(tmp_path, HOME)
    with pytest.raises(ConfigError):
        read(tmp_path / "my.toml", {})
