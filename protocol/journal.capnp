@0xb7e2d94a6c10f583;
# The journal of a scheduler: a file that no peer sees. README.md, "The journal", says how records stand in it.
#
# It holds what clients asked for, and how that ended, as far as they are clients of their own: what tasks submit, they submit again
# when they are run again. A scheduler that starts reads it and goes on; what is not in it yet, clients and workers that live tell, as
# they tell a scheduler without a journal.
#
# Records may be lost in the middle, where the file is damaged, or at the end. So each means the same whatever is missing before: what
# was ended twice has ended, what is submitted twice was submitted once, and what depends on a task that is not there ends as `lost`.

using Client = import "client.capnp";
using Task = import "task.capnp";

struct JournalRecord {
  union {
    unspecified @0 :Void;
    # Never written.
    client @1 :JournalClient;
    functions @2 :JournalFunctions;
    submit @3 :JournalSubmit;
    submitArray @4 :JournalArray;
    results @5 :JournalResults;
    over @6 :JournalOver;
    gone @7 :JournalGone;
  }
}

struct JournalClient {
  # Written before all others of a client. From here on its number means this one.
  client @0 :UInt32;
  # ClientSettings.clientNumber.
  identity @1 :Data;
  # Hello.identity, 16 bytes.
  name @2 :Text;
  # Hello.name. Where it is empty, nobody can come back for the results.
  nextSequence @3 :UInt64;
  # It has used the sequences below, as far as later records do not say more.
}

struct JournalFunctions {
  # Functions that later records of this client name.
  client @0 :UInt32;
  functions @1 :List(Task.Function);
}

struct JournalSubmit {
  # Tasks that were accepted. Parts of a graph (Submit.more) count when the last part is there.
  client @0 :UInt32;
  submit @1 :Client.Submit;
}

struct JournalArray {
  # An array that was accepted. Items that are known already are passed over.
  client @0 :UInt32;
  submit @1 :Client.SubmitArray;
}

struct JournalResults {
  # Tasks and items have ended, and these results are kept: until they are `over`, or, of what the client does not want, until nothing
  # depends on them.
  client @0 :UInt32;
  results @1 :Task.Results;
  # As a client is told, by sequences.
  names @2 :List(Text);
  # As in RecoveredClient; written where the journal is rewritten without their submissions.
  serializers @3 :List(Text);
  # As in RecoveredClient.
}

struct JournalOver {
  # Tasks and items have ended, and their results are not kept for the client.
  client @0 :UInt32;
  sequences @1 :Data;
  # u64 column.
  counts @2 :Data;
  # u32 column: so many items from the sequence above. Empty: 1 for all.
}

struct JournalGone {
  # The client has left, or was not there for too long: nothing of it is kept.
  client @0 :UInt32;
}
