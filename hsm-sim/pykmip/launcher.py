"""Starts PyKMIP's server, as its own command pykmip-server does and with that one's options.

PyKMIP decrypts with symmetric keys only: "Only symmetric decryption is currently supported". That is one check;
its cryptography engine has RSA, with PKCS #1 v1.5 and OAEP. With --rsa the check lets private keys pass too, and
the engine is told the hash of OAEP. Nothing else is changed: who may use a key, in which state and for what, and
how it is answered stay PyKMIP's.

There is one more operation policy, seen-by-all: any client finds such a key and its attributes, and its owner alone
uses it. No key has it that does not ask for it.

With --versions 1.3,1.2 it speaks these versions of KMIP alone, of those that it has.
"""

import collections
import inspect
import os
import sys
import textwrap
import traceback

from kmip.core import enums
from kmip.services.server import engine, server

EDITS = {
    "if managed_object._object_type != enums.ObjectType.SYMMETRIC_KEY:":
        "if managed_object._object_type not in (\n"
        "    enums.ObjectType.SYMMETRIC_KEY, enums.ObjectType.PRIVATE_KEY):",
    "auth_tag=payload.auth_tag":
        "auth_tag=payload.auth_tag,\n"
        "hashing_algorithm=cryptographic_parameters.hashing_algorithm",
}


SEEN_BY_ALL = {
    enums.Operation.LOCATE: enums.Policy.ALLOW_ALL,
    enums.Operation.GET_ATTRIBUTES: enums.Policy.ALLOW_ALL,
    enums.Operation.GET: enums.Policy.ALLOW_OWNER,  # Encrypt and Decrypt too: PyKMIP asks for no more
    enums.Operation.ACTIVATE: enums.Policy.ALLOW_OWNER,
    enums.Operation.REVOKE: enums.Policy.ALLOW_OWNER,
    enums.Operation.DESTROY: enums.Policy.ALLOW_OWNER,
}


def more_policies(self):
    own = {"seen-by-all": {"preset": {enums.ObjectType.SYMMETRIC_KEY: SEEN_BY_ALL}}}
    self._operation_policies = collections.ChainMap(own, self._operation_policies)


def when_made(change):
    """What is done with the engine once it is there."""
    def init(self, *args, **kwargs):
        theirs(self, *args, **kwargs)
        change(self)

    theirs = engine.KmipEngine.__init__
    engine.KmipEngine.__init__ = init


def let_private_keys_decrypt():
    # Under the decorator that asks for KMIP 1.2, which stays.
    method = inspect.getclosurevars(engine.KmipEngine._process_decrypt).nonlocals["function"]
    source = textwrap.dedent(inspect.getsource(method))
    source = source[source.index("def "):]
    for theirs, ours in EDITS.items():
        if source.count(theirs) != 1:
            raise RuntimeError("this PyKMIP has another _process_decrypt: correct launcher.py's EDITS")
        source = source.replace(theirs, ours)
    scope = dict(vars(engine))
    exec(compile(source, __file__, "exec"), scope)
    method.__code__ = scope[method.__name__].__code__


def speak_only(versions):
    def change(self):
        self._protocol_versions = [v for v in self._protocol_versions if str(v) in versions]

    when_made(change)


when_made(more_policies)
if "--versions" in sys.argv:
    at = sys.argv.index("--versions")
    speak_only(sys.argv[at + 1].split(","))
    del sys.argv[at:at + 2]
if "--rsa" in sys.argv:
    sys.argv.remove("--rsa")
    let_private_keys_decrypt()
try:
    server.main()
except Exception:
    traceback.print_exc()
    # At once: its policy monitor is a process that an orderly exit would wait for, and that never ends.
    os._exit(1)
