@0xc3a9f1b7724e6d05;
# Between the object storage of one host (dialer, role hostStorage) and the object storage server of all (listener, here: the
# *center*).
#
# The storage of a host keeps what tasks of its host make, and copies of what they took. Its users speak storage.capnp with it. The
# center knows where each object is and who owns it. An object goes from the host that has it to the one that needs it, over
# storage.capnp, without passing the center; hosts that have copies give them on, a few at a time each, so that many receivers of
# one object fan out.
#
# A put into the storage of a host is answered when the center has answered `hold`. So whoever hears of an object can find it.
#
# Loss: when the connection is lost the center forgets all that this host holds; what nobody else has is lost. The host dials again and
# says again, with `hold`, what it has; the center may be another process by then.
#
# End: a host that is to go says `hostLeaving`. The center gets what nobody else has, and answers `mayLeave`.

struct HostToStorage {
  union {
    unspecified @0 :Void;
    # Never sent; closes the connection.
    serve @1 :Serve;
    hold @2 :Hold;
    letGo @3 :LetGo;
    locate @4 :Locate;
    notThere @5 :NotThere;
    giveUp @6 :GiveUp;
    hostLeaving @7 :HostLeaving;
  }
}

struct StorageToHost {
  union {
    unspecified @0 :Void;
    holding @1 :Holding;
    drop @2 :Drop;
    located @3 :Located;
    notFound @4 :NotFound;
    mayLeave @5 :MayLeave;
  }
}

struct Serve {
  # Sent once, first.
  address @0 :Text;
  # Where others get objects from this host, by storage.capnp.
}

struct Hold {
  # These objects are on this host. Answered by `holding`. A copy that was located ends its transfer by this.
  request @0 :UInt64;
  objects @1 :Data;
  # 16-byte ids, one after the other.
  owners @2 :Data;
  # 16 bytes for each: who owns it from now on. Zeros: it is a copy, and others own it.
}

struct Holding {
  # The answer to Hold.
  request @0 :UInt64;
  refused @1 :Data;
  # 16-byte ids, one after the other, of those that nobody owns: they were freed, or their owner was released. The host frees them.
}

struct LetGo {
  # These objects are not on this host any more.
  objects @0 :Data;
  # 16-byte ids, one after the other.
}

struct Drop {
  # Nobody owns these objects any more: free them.
  objects @0 :Data;
  # 16-byte ids, one after the other.
}

struct Locate {
  # Where can I get this object? Answered by `located`, when there is a host that has time for it, or by `notFound`. If it does not
  # exist yet, the answer waits until it does.
  request @0 :UInt64;
  object @1 :Data;
  existed @2 :Bool;
  # It was there: if it is not, it is lost, and nothing is waited for.
}

struct Located {
  # Get it there, then `hold` it, or say `notThere`.
  request @0 :UInt64;
  address @1 :Text;
  # Of another host's storage. Empty: of the center.
}

struct NotThere {
  # The object could not be had where this request was told. It is answered again: by another place, or by `notFound`.
  request @0 :UInt64;
}

struct GiveUp {
  # This `locate` is of no use any more. Not answered.
  request @0 :UInt64;
}

struct NotFound {
  # The object is nowhere.
  request @0 :UInt64;
  freed @1 :Bool;
  # It existed and was freed; else it is lost.
}

struct HostLeaving {
  # This host is about to go. Sent when it has said what it has, and again after a lost connection. Answered by `mayLeave`. Until
  # then all goes on as before.
}

struct MayLeave {
  # Nothing is on this host only, of what it has said. What it says it holds from now on is lost when it goes.
}
