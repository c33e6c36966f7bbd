@0xc1d0b8a3f2e94711;
# The handshake: the first frames on every connection, whatever is said afterwards.
#
# Who talks: the *dialer* opened the TCP connection, the *listener* accepted it. The dialer speaks first.
#
#     dialer                          listener
#       hello            ------->
#                        <-------     welcome | refused            (no secret asked for)
#
#       hello            ------->
#                        <-------     challenge                     (a secret is asked for)
#       proof            ------->
#                        <-------     welcome | refused
#
# After `welcome` both sides use the conversation of the dialer's role and never this union again. Until then a frame is
# at most 64 KiB and carries no attachment. A listener that receives anything else, or nothing for 10 seconds, answers
# `refused` if it can and closes. After `refused` the listener closes; dialing again without a change is of no use.

const magic :UInt64 = 0x52454c4143530a01;
# Stands in Hello.magic and Welcome.magic. Little-endian on the wire: 01 0a "SCALER". The field itself has no default, so
# that these bytes do travel.

const protocolVersion :UInt16 = 1;
# The version these files describe. README.md says what raises it.

struct Handshake {
  # The only message before `welcome`, in both directions.
  union {
    unspecified @0 :Void;
    # Never sent. A receiver refuses it.
    hello @1 :Hello;
    challenge @2 :Challenge;
    proof @3 :Proof;
    welcome @4 :Welcome;
    refused @5 :Refused;
  }
}

struct Hello {
  # Sent by the dialer, once, as its first frame.
  magic @0 :UInt64;
  # The constant `magic`. With another value the peer speaks another protocol and is refused.
  protocolVersion @1 :UInt16;
  # The newest version the dialer speaks.
  oldestVersion @2 :UInt16;
  # The oldest version it still speaks. The listener picks the highest version both speak, or refuses.
  role @3 :Role;
  # Decides the conversation, and with it what the dialer may say.
  identity @4 :Data;
  # 16 random bytes, minted by the dialer's process when it starts and used for its life. The same identity on a new
  # connection means "it is me again": a listener that still holds the old connection closes that one.
  name @5 :Text;
  # For people: log lines and monitors. May be empty, need not be unique, at most 256 bytes.
  nonce @6 :Data;
  # 32 random bytes, new for each connection, where the dialer has a secret; empty otherwise. A listener that asks for a
  # secret refuses any other length.
  software @7 :Text;
  # Of clients and workers that pickle: "python=3.11.7 scaler=0.1.0 cloudpickle=3.1.2", for warnings where they differ. Empty
  # otherwise; at most 256 bytes.
}

enum Role {
  # Who dials. Each role has its own pair of unions: a client cannot even spell a worker's message.
  unspecified @0;
  client @1;
  # client.capnp, to a scheduler.
  worker @2;
  # worker.capnp, to a scheduler.
  manager @3;
  # manager.capnp, to a scheduler.
  monitor @4;
  # monitor.capnp, to a scheduler's monitor address.
  storageUser @5;
  # storage.capnp, to an object storage server: clients, executors and schedulers all use this one.
  hostStorage @6;
  # host.capnp, the object storage of one host to that of all.
}

struct Challenge {
  # Sent by a listener that asks for a secret, once. Answer with `proof` within 10 seconds. A dialer that has a secret
  # closes when `welcome` comes without it: nobody can talk it out of its secret.
  method @0 :Text;
  # "hmac-sha256". A dialer that does not know the method closes.
  nonce @1 :Data;
  # 32 random bytes, new for each connection.
}

struct Proof {
  # Sent by the dialer after `challenge`.
  mac @0 :Data;
  # 32 bytes: HMAC-SHA-256, keyed by the bytes of the shared secret (those of the secret file, without white space at its
  # ends), over these in this order without separators: "scaler dialer" (13 bytes of ASCII), Hello.nonce (32),
  # Challenge.nonce (32), Hello.identity (16), Hello.role, Hello.protocolVersion and Hello.oldestVersion (2 each,
  # little-endian), and with TLS the channel (32): SHA-256 of the listener's certificate in DER. So a proof is good for
  # one connection, one role, and one listener: who stands between the two has another certificate.
}

struct Welcome {
  # Sent by the listener: the handshake is over, the conversation of the role begins.
  magic @0 :UInt64;
  protocolVersion @1 :UInt16;
  # The version both use from here on.
  identity @2 :Data;
  # 16 bytes of the listener's process. Another value than last time means that the listener was restarted.
  mac @3 :Data;
  # By this the listener proves that it knows the secret; empty without one. As in Proof, with "scaler listener"
  # (15 bytes) in front, and with Welcome.protocolVersion (2) and Welcome.identity (16) before the channel.
}

struct Refused {
  # Sent by the listener just before it closes.
  reason @0 :RefusalReason;
  text @1 :Text;
  # One English sentence for people, with what was found and what was expected.
}

enum RefusalReason {
  # Why a listener does not let a dialer in.
  unspecified @0;
  notScaler @1;
  # Wrong magic, or a first frame that is no Handshake.
  version @2;
  # No version in common; `text` names both ranges.
  role @3;
  # This listener does not serve this role (a worker that dials the monitor address, for instance).
  authentication @4;
  # A secret is asked for and was not proved.
  full @5;
  # A limit on connections is reached. Dialing later may help.
  tls @6;
  # This address takes TLS only, and the peer does not speak it. Said without TLS, so that the peer can read it.
}
