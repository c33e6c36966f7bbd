@0xb26c80f4e51d793a;
# Between whoever uses objects (dialer, role storageUser) and an object storage server (listener).
#
# An object is a run of bytes under a 16-byte id. It exists as long as somebody owns it. Owners are named by 16 bytes (the
# identity of a client). The server never looks into an object.
#
# Ids: of content, BLAKE2b with 16 bytes of digest over the bytes, so that the same bytes are held and sent once; or 16
# random bytes for what is made once, such as a result, and for what is compared instead, in shared memory. The owner of 16 zeros is nobody: it is used between storages (host.capnp).
#
# Chunks: bytes travel as *attachments* of `put` and `chunk` frames (README.md), at most 1 MiB each, in rising order without
# gaps, so that other messages pass between them.
#
# Requests carry a number minted by the dialer, never used again on that connection; answers name it. Answers to different
# requests come in any order.
#
# Shared memory: on one host the bytes need not travel. Who has them in a memfd names its descriptor (`Piece`), and the
# other side opens and maps it; the system lets only processes of the same user do that. Nothing has to be cleaned up: the memory
# is freed with its last descriptor and mapping, however the processes end.
#
# One process may have several connections; each has an identity of its own, and owners are named in the messages.
#
# Room: a server keeps so many bytes in memory, and the objects used least recently on disk. Who puts faster than it can
# store is not read from for a while, and told so by `putWaits`; gets of what is on disk wait until it was read. That goes for what
# is put as `Piece`s, too: it counts as the server's memory from `stored` on.
#
# Loss: a put that was not answered did not happen. Objects outlive connections; they end with their owners, and with the
# server: a restarted one is empty, which another identity in its Welcome tells. One that is durable has its objects, and its
# identity, again.

struct ToStorage {
  union {
    unspecified @0 :Void;
    # Never sent; closes the connection.
    put @1 :Put;
    get @2 :Get;
    link @3 :Link;
    release @4 :Release;
    releaseOwner @5 :ReleaseOwner;
    statistics @6 :StatisticsRequest;
    abandon @7 :Abandon;
    probe @8 :Probe;
    admitOwner @9 :AdmitOwner;
  }
}

struct FromStorage {
  union {
    unspecified @0 :Void;
    stored @1 :Stored;
    chunk @2 :Chunk;
    failed @3 :StorageFailure;
    statistics @4 :Statistics;
    mapped @5 :Mapped;
    shared @6 :Shared;
    putWaits @7 :PutWaits;
  }
}

struct Piece {
  # Whole pages of a file in shared memory: a memfd of Linux, which a process of the same host and user opens as
  # /proc/<process>/fd/<descriptor>, for reading. It is sealed against growing and shrinking. Who made it does not write as long as
  # another process has it open or mapped, which the kernel knows: it refuses a lease (F_SETLEASE, F_WRLCK) then.
  process @0 :UInt32;
  descriptor @1 :UInt32;
  name @2 :Text;
  # The file's, made of random bytes. The link in /proc reads "/memfd:<name> (deleted)"; whatever says something else is
  # another file, since the one meant is gone, or of another host.
  generation @3 :UInt64;
  # The last page of the file begins with it, little-endian. Who finds another one there, after opening it, came too late: the
  # file is being used for another object.
  offset @4 :UInt64;
  # A multiple of the page size, 4096 or what the host has.
  bytes @5 :UInt64;
  # The same, but for the last piece of an object.
}

struct Put {
  # One part of an object, with the bytes as attachment. The last part is answered by `stored`. The parts of one object
  # have the same request number, id, owner and total.
  request @0 :UInt64;
  object @1 :Data;
  owner @2 :Data;
  totalBytes @3 :UInt64;
  offset @4 :UInt64;
  # Of the attachment in the object. An empty object is one part without attachment.
  pieces @5 :List(Piece);
  # The whole object in shared memory, at most 1,024 pieces one after the other, instead of attachments. Answered by
  # `stored`, until which they have to exist, or by `failed` with `notShared`, after which the dialer sends attachments.
}

struct Stored {
  # The object exists now, and the owner of the request owns it.
  request @0 :UInt64;
  alreadyThere @1 :Bool;
  # The same id existed; the bytes sent were not needed. Answered as soon as it is known, after which the dialer may stop
  # sending parts, or send them all. Always true in the answer to a link.
}

struct PutWaits {
  # There is no room for this put yet: the server will go on reading when there is. Sent when that begins and every 2 s, so
  # that the dialer knows that the server is alive. It has to do nothing but wait; `stored` or `failed` follows.
  request @0 :UInt64;
}

struct Get {
  # Ask for an object, answered by `chunk`s that cover it. If it does not exist yet, the answer waits until it does.
  request @0 :UInt64;
  object @1 :Data;
  shared @2 :Bool;
  # The dialer can open pieces of the listener: `mapped` is an answer as well.
  existed @3 :Bool;
  # The dialer knows that the object was there: one that is not is lost, and nothing is waited for.
}

struct Mapped {
  # The object asked for, in shared memory. Its pieces can be opened as long as the object is in memory, which it is for a moment
  # after this at least, unless it is released; where they cannot, the dialer asks again without `shared`. What is open or mapped
  # stays as it is, whatever becomes of the object.
  request @0 :UInt64;
  totalBytes @1 :UInt64;
  pieces @2 :List(Piece);
}

struct Probe {
  # Can we share memory? Answered by `shared` when the listener could open the piece, else by `failed` with `notShared`.
  request @0 :UInt64;
  piece @1 :Piece;
}

struct Shared {
  # The listener could open the probe. If the dialer can open this piece as well, both may use pieces from here on.
  request @0 :UInt64;
  piece @1 :Piece;
}

struct Chunk {
  # One part of the object asked for, as attachment. An empty object is one chunk without attachment.
  request @0 :UInt64;
  totalBytes @1 :UInt64;
  offset @2 :UInt64;
}

struct Abandon {
  # The answer to this get is not wanted any more. Chunks under way may still arrive.
  request @0 :UInt64;
}

struct Link {
  # Make `owner` one more owner of the object. Answered by `stored`, or by `failed` if it does not exist.
  request @0 :UInt64;
  object @1 :Data;
  owner @2 :Data;
}

struct Release {
  # `owner` needs these objects no longer. One without owners is freed. Unknown ones are passed over. Not answered, but what a dialer
  # says is read in order: the answer to a later request on this connection shows that it was heard.
  objects @0 :Data;
  # 16-byte ids, one after the other.
  owner @1 :Data;
}

struct ReleaseOwner {
  # Release all that this owner has, and refuse its puts from now on, until `admitOwner`. Sent by schedulers when a client is gone.
  owner @0 :Data;
}

struct AdmitOwner {
  # Take puts of this owner again, after a `releaseOwner`. Sent by schedulers when a client is there that they, or a scheduler before
  # them, have given up. What was freed by that `releaseOwner` counts as lost from here on, so that the owner is asked to put it again.
  owner @0 :Data;
}

struct StorageFailure {
  # A put, get or link that failed for good.
  request @0 :UInt64;
  reason @1 :StorageFailureReason;
  text @2 :Text;
}

enum StorageFailureReason {
  # Why.
  unspecified @0;
  freed @1;
  # The object existed and was freed.
  unknown @2;
  # Link: no such object.
  ownerGone @3;
  # Put: the owner was released.
  tooLarge @4;
  # Put: larger than this server takes.
  notShared @5;
  # Put, probe: the pieces cannot be opened or are not sealed; over the connection the object may still be put.
  lost @6;
  # Get with `existed`: the object is not here. The server was restarted since it was put, or does not remember that it was freed.
  full @7;
  # Put: the memory limit is reached, and the disk takes nothing. It may be tried again later.
  unreadable @8;
  # Get: the object is on disk and cannot be read back. It may be tried again later.
}

struct StatisticsRequest {
  # Answered by `statistics`.
  request @0 :UInt64;
}

struct Statistics {
  # What the server holds and has done. `puts` counts those saved too, `gets` those that wait too.
  request @0 :UInt64;
  objects @1 :UInt64;
  bytes @2 :UInt64;
  # Held now, in memory or on disk.
  owners @3 :UInt64;
  waitingGets @4 :UInt64;
  # For an object to exist, or to be read back.
  puts @5 :UInt64;
  # Since the start, as gets, freed and putsSaved.
  gets @6 :UInt64;
  freed @7 :UInt64;
  putsSaved @8 :UInt64;
  # Puts of what was there already.
  memoryBytes @9 :UInt64;
  # Of objects in memory, and set aside for puts and for what is read back.
  memoryLimitBytes @10 :UInt64;
  # 0: no limit.
  spilledObjects @11 :UInt64;
  spilledBytes @12 :UInt64;
  # Only on disk now.
  waitingPuts @13 :UInt64;
  # For room.
  spills @14 :UInt64;
  # Objects written to disk since the start, as all below. Each is written once, however often it is read back.
  spillFailures @15 :UInt64;
  restores @16 :UInt64;
  # Objects read back.
  getsAtOnce @17 :UInt64;
  # Gets of what was in memory.
  getsRestored @18 :UInt64;
  # Gets of what was only on disk. All other gets waited for an object to exist, or failed.
  hosts @19 :UInt64;
  # Storages of hosts that are connected (host.capnp); 0 for the storage of a host, as the next two.
  objectsOnHosts @20 :UInt64;
  # Now. Those that are here too count as well.
  transfers @21 :UInt64;
  # Since the start: how often a host, or this server, was told where to get an object.
}
