// From tasks to the messages that a client says, and from results to how tasks ended.
import type * as $ from "capnp-es";
import { ClientToScheduler } from "../generated/client.js";
import type { Results, TaskOptions } from "../generated/task.js";
import { ProtocolError } from "./errors.js";
import { bytesOf, dataOf, newMessage, readU32Column, readU64Column, u32Column, u64Column } from "./frames.js";

const MESSAGE_BYTES = 4 << 20;
const MESSAGE_TASKS = 10_000;

/** What may be asked for a task. */
export interface Options {
  /** The task runs only on workers that offer all of these. */
  capabilities?: string[];
  /** Greater goes first. */
  priority?: number;
  /** How often it is run again when it raises. */
  retries?: number;
  /** Only for errors of these types, "builtins.OSError"; any without it. */
  retryOn?: string[];
  /** It is stopped after this; 0: never. */
  timeoutMilliseconds?: number;
  /** For people; the function's without it. */
  name?: string;
}

/** A task as it is submitted. */
export interface Call {
  sequence: number;
  function: number;
  payload: Uint8Array;
  options: Options;
  /** Sequences. */
  dependencies: number[];
  wanted: boolean;
}

export function say(fill: (message: ClientToScheduler) => void): $.Message {
  const message = newMessage();
  fill(message.initRoot(ClientToScheduler));
  return message;
}

export function definition(functions: [number: number, path: string][]): $.Message {
  return say((message) => {
    const list = message._initDefine()._initFunctions(functions.length);
    functions.forEach(([number, path], i) => {
      const entry = list.get(i);
      entry.number = number;
      entry.serializer = "msgpack";
      entry.content = dataOf(Buffer.from(path));
      entry.name = path;
    });
  });
}

/** Several messages, where one would be too large. */
export function submissions(calls: Call[]): $.Message[] {
  return parts(calls).map((part, i, all) =>
    say((message) => {
      const submit = message._initSubmit();
      const payloads = submit._initPayloads(part.length);
      const sets = submit._initOptionSets(part.length);
      const dependencies: number[] = [];
      const ends = part.map((call) => dependencies.push(...call.dependencies));
      part.forEach((call, place) => {
        payloads.set(place, dataOf(call.payload));
        setOptions(sets.get(place), call.options);
      });
      submit.sequences = u64Column(part.map((call) => call.sequence));
      submit.functions = u32Column(part.map((call) => call.function));
      submit.options = u32Column(part.map((_, place) => place));
      submit.wanted = dataOf(Uint8Array.from(part, (call) => Number(call.wanted)));
      if (dependencies.length) {
        submit.dependencyEnds = u32Column(ends);
        submit.dependencies = u64Column(dependencies);
      }
      submit.more = i + 1 < all.length;
    }),
  );
}

/** The same for calls of one function whose sequences follow each other, as arrays. */
export function arrays(calls: Call[]): $.Message[] {
  return parts(calls).map((part) =>
    say((message) => {
      const array = message._initSubmitArray();
      let end = 0;
      array.firstSequence = BigInt(part[0]!.sequence);
      array.function = part[0]!.function;
      array.items = dataOf(Buffer.concat(part.map((call) => call.payload)));
      array.itemEnds = u32Column(part.map((call) => (end += call.payload.length)));
      setOptions(array._initOptions(), part[0]!.options);
    }),
  );
}

function parts(calls: Call[]): Call[][] {
  const found: Call[][] = [];
  let bytes = Infinity;
  for (const call of calls) {
    if (bytes >= MESSAGE_BYTES || found.at(-1)!.length >= MESSAGE_TASKS) {
      found.push([]);
      bytes = 0;
    }
    found.at(-1)!.push(call);
    bytes += call.payload.length;
  }
  return found;
}

function setOptions(set: TaskOptions, options: Options): void {
  setTexts(options.capabilities ?? [], (length) => set._initCapabilities(length));
  setTexts(options.retryOn ?? [], (length) => set._initRetryOn(length));
  set.priority = options.priority ?? 0;
  set.retries = options.retries ?? 0;
  set.timeoutMilliseconds = BigInt(Math.ceil(options.timeoutMilliseconds ?? 0));
  set.name = options.name ?? "";
}

function setTexts(texts: string[], init: (length: number) => $.List<string>): void {
  const list = init(texts.length);
  texts.forEach((text, i) => list.set(i, text));
}

/** How one task or item ended. */
export interface Ended {
  sequence: number;
  status: number;
  payload: Uint8Array;
}

/** Each task and item of a message. Throws ProtocolError for columns that do not fit each other. */
export function ended(results: Results): Ended[] {
  const sequences = readU64Column(results.tasks);
  const statuses = bytesOf(results.statuses);
  const counts = readU32Column(results.counts);
  const { payloads, itemEnds } = results;
  const differs = (length: number, mayBeEmpty: boolean): boolean => length !== sequences.length && !(mayBeEmpty && length === 0);
  if (differs(statuses.length, false) || differs(payloads.length, false) || differs(counts.length, true) || differs(itemEnds.length, true))
    throw new ProtocolError("results whose columns differ in length");
  return sequences.flatMap((first, i) => {
    const payload = bytesOf(payloads.get(i));
    const ends = itemEnds.length ? readU32Column(itemEnds.get(i)) : [];
    return Array.from({ length: counts[i] ?? 1 }, (_, item) => ({
      sequence: first + item,
      status: statuses[i]!,
      payload: ends.length ? payload.slice(item ? ends[item - 1] : 0, ends[item]) : payload,
    }));
  });
}
