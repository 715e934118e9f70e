"""A directory: `slapd` of OpenLDAP with a few people, on a port of its own."""

import contextlib
import pathlib
import re
import signal
import socket
import subprocess
import threading

from processes import Program, bound, free_port, wait_until

BASE = "dc=example,dc=org"
OWN, OWN_PASSWORD = f"cn=pylon,{BASE}", "pylon's own"
PASSWORD = "s3cret, (of) *ann*"

PEOPLE = f"""
dn: {BASE}
objectClass: dcObject
objectClass: organization
o: example

dn: {OWN}
objectClass: organizationalRole
objectClass: simpleSecurityObject
userPassword: {OWN_PASSWORD}

dn: ou=people,{BASE}
objectClass: organizationalUnit

dn: ou=others,{BASE}
objectClass: organizationalUnit

dn: ou=groups,{BASE}
objectClass: organizationalUnit
""" + "".join(
    f"""
dn: uid={uid},ou={place},{BASE}
objectClass: inetOrgPerson
cn: {cn}
sn: {cn}
mail: {mail}@example.org
employeeType: tester
userPassword: {PASSWORD}
"""
    for uid, place, cn, mail in [
        ("ann", "people", "Ann Smith", "ann"),
        ("bob", "others", "Bob", "bob"),
        ("twin", "people", "One Twin", "one"),
        ("twin", "others", "Other Twin", "other"),
        (r"o\2cbrien", "people", "O'Brien", "obrien"),
        (r"zo\c3\ab", "people", "Zoe", "zoe"),
    ]
)

GROUPS = "".join(
    f"""
dn: cn={name},ou=groups,{BASE}
objectClass: groupOfNames
""" + "".join(f"member: uid={uid},{BASE}\n" for uid in members)
    for name, members in [("staff", ["ann,ou=people", "bob,ou=others"]), ("admins", ["ann,ou=people"])]
)

CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {directory}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
{tls}
database mdb
suffix "dc=example,dc=org"
directory {directory}/data
maxsize 10485760
rootdn "cn=root,dc=example,dc=org"
rootpw root
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by users read by anonymous {anonymous}
"""


class Slapd(Program):
    def __init__(self, directory, *, port=None, certificate=None, anonymous="auth", told="0"):
        self.directory = pathlib.Path(directory)
        self.port, self.told = port or free_port(), told
        (self.directory / "data").mkdir()
        tls = ""
        if certificate:
            tls = f"TLSCertificateFile {certificate}\nTLSCertificateKeyFile {certificate}\nTLSCACertificateFile {certificate}"
        self.config = self.directory / "slapd.conf"
        self.config.write_text(CONFIG.format(directory=self.directory, tls=tls, anonymous=anonymous))
        subprocess.run(["/usr/sbin/slapadd", "-f", self.config], input=PEOPLE.encode(), check=True, capture_output=True)
        self.urls = [f"ldap://127.0.0.1:{self.port}"]
        if certificate:
            self.urls.append(f"ldaps://127.0.0.1:{free_port()}")
        self.start()
        # Through the server, which then notes with each member which groups it is in.
        subprocess.run(
            ["ldapadd", "-x", "-H", self.urls[0], "-D", f"cn=root,{BASE}", "-w", "root"],
            input=GROUPS.encode(), check=True, capture_output=True,
        )

    def start(self):
        listens = " ".join(f"{url}/" for url in self.urls)
        arguments = ["/usr/sbin/slapd", "-d", self.told, "-h", listens, "-f", self.config]
        super().__init__(arguments, self.directory, ready=self.answers)

    def answers(self):
        done = subprocess.run(["ldapwhoami", "-x", "-H", self.urls[0]], capture_output=True)
        return done.returncode == 0

    def operations(self):
        """What it was asked in each connection, in its order; with `told="stats"`."""
        connections = {}
        pattern = r'conn=(\d+) (?:fd|op)=\d+ (ACCEPT|BIND(?= dn="[^"]*" method)|SRCH(?= base)|UNBIND)'
        for number, what in re.findall(pattern, self.log.read_text()):
            connections.setdefault(int(number), []).append(what)
        return list(connections.values())

    def hang(self, on=True):
        self._signal(signal.SIGSTOP if on else signal.SIGCONT)
        if on:
            tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
            stopped = lambda task: task.joinpath("stat").read_text().rsplit(")", 1)[1].split()[0] == "T"  # noqa: E731
            wait_until(lambda: all(map(stopped, tasks.iterdir())), what="all of it has stopped")


class Relay:
    """Stands before a directory, and can forget the connections that go through it without a word."""

    def __init__(self, port):
        self.server, self.open, self.behind = bound(), [], port
        self.server.listen()
        self.url = f"ldap://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near = self.server.accept()[0]
                known, far = threading.Event(), socket.create_connection(("127.0.0.1", self.behind))
                known.set()
                self.open.append((known, near, far))
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self.carry, args=(known, *ends), daemon=True).start()

    def carry(self, known, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if known.is_set():
                    sink.sendall(data)
            if known.is_set():
                sink.shutdown(socket.SHUT_WR)

    def forget(self):
        for known, _, _ in self.open:
            known.clear()

    def close(self):
        for one in (self.server, *(end for _, *ends in self.open for end in ends)):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
