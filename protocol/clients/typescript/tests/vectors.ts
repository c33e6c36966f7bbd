// Holds the frames of protocol/vectors against this implementation: vectors.js DIRECTORY. Exit code 0 if all mean the same.
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import * as $ from "capnp-es";
import { ClientToScheduler, SchedulerToClient } from "../generated/client.js";
import * as executor from "../generated/executor.js";
import { Handshake, Role } from "../generated/handshake.js";
import * as host from "../generated/host.js";
import * as manager from "../generated/manager.js";
import * as monitor from "../generated/monitor.js";
import { FromStorage, ToStorage } from "../generated/storage.js";
import { Failure } from "../generated/task.js";
import * as worker from "../generated/worker.js";
import { bytesOf, dataOf, FrameReader, newMessage } from "../src/frames.js";
import { Dialer, helloMessage, mac } from "../src/handshake.js";
import { NdArray, read } from "../src/values.js";
import { decode, ExtData } from "@msgpack/msgpack";

interface Vector {
  name: string;
  union: string;
  frame: string;
  attachment?: string;
  message?: string;
  says: Record<string, Record<string, unknown>>;
  msgpack: string;
  json: unknown;
}

type Class = $.StructCtor<$.Struct> & Record<string, unknown>;
const spoken = { Handshake, ClientToScheduler, SchedulerToClient, ToStorage, FromStorage };
const UNIONS = { ...executor, ...host, ...manager, ...monitor, ...worker, ...spoken } as unknown as Record<string, Class>;
let checked = 0;
let wrong = 0;

function expect(found: unknown, expected: unknown, vector: Vector, what = ""): void {
  checked += 1;
  if (isDeepStrictEqual(found, expected)) return;
  wrong += 1;
  console.log(`WRONG: ${vector.union} ${vector.name} ${what}\n`, found, "\n", expected);
}

function load(name: string): Vector[] {
  return JSON.parse(readFileSync(`${process.argv[2]}/${name}.json`, "utf8")) as Vector[];
}

/** What a message means, as the vectors have it: of a struct the fields that have a getter. */
function meaning(value: unknown): unknown {
  if (value instanceof $.Data) return Buffer.from(bytesOf(value)).toString("hex");
  if (value instanceof $.List) return Array.from({ length: value.length }, (_, i) => meaning(value.get(i)));
  if (typeof value === "bigint") return String(value);
  if (!(value instanceof $.Struct)) return value;
  const getters = Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(value)));
  const names = getters.filter(([name, { get }]) => get && !name.startsWith("_")).map(([name]) => name);
  return Object.fromEntries(names.map((name) => [name, meaning((value as unknown as Record<string, unknown>)[name])]));
}

/** The arm that a message of a conversation has, and its meaning. Throws what is wrong with it. */
function said(bytes: Uint8Array, union: string): [arm: string, told: unknown, attachment: string] {
  const reader = new FrameReader();
  reader.handshake = union === "Handshake";
  reader.feed(bytes);
  const frame = reader.take();
  if (!frame) throw new Error("a frame that ends");
  const message = frame.message.getRoot(UNIONS[union]!) as $.Struct & { which(): number } & Record<string, unknown>;
  const names = Object.entries(UNIONS[union]!).filter(([, number]) => number === message.which());
  const constant = names[0]?.[0];
  if (!constant || constant === "UNSPECIFIED") throw new Error("an arm that nobody knows");
  const arm = constant.toLowerCase().replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
  return [arm, meaning(message[arm]), Buffer.from(frame.attachment).toString("hex")];
}

/** A value as JSON has it. */
function asJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("base64") };
  if (value instanceof NdArray) {
    const { dtype, shape, bytes } = value;
    return { $array: { dtype, shape, data: Buffer.from(bytes).toString("base64") } };
  }
  if (value instanceof ExtData) {
    const content = Buffer.from(value.data as Uint8Array);
    return value.type === 2 ? { $input: content.readUInt32LE() } : { $object: content.toString("hex").slice(0, 32) };
  }
  if (typeof value === "number" && !Number.isFinite(value)) return { $float: value > 0 ? "inf" : "-inf" };
  if (Array.isArray(value)) return value.map(asJson);
  if (value === null || typeof value !== "object") return value;
  const plain = Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, asJson(entry)]));
  const names = Object.keys(plain);
  return names.length === 1 && names[0]!.startsWith("$") ? { $plain: plain } : plain;
}

for (const file of ["handshake", "client", "storage", "worker", "manager", "monitor", "host", "executor", "newer", "older"]) {
  for (const vector of load(file)) {
    const [arm, told, attachment] = said(Buffer.from(vector.frame, "hex"), vector.union);
    expect({ [arm]: told }, vector.says, vector);
    expect(attachment, vector.attachment ?? "", vector, "its attachment");
  }
}
for (const vector of load("refused")) {
  let taken: unknown;
  try {
    taken = said(Buffer.from(vector.frame, "hex"), vector.union);
  } catch {
    taken = undefined;
  }
  expect(taken, undefined, vector, "it was taken");
}
for (const vector of load("failure")) {
  const message = new $.Message(Uint8Array.from(Buffer.from(vector.message!, "hex")), false);
  expect(meaning(message.getRoot(Failure)), vector.says, vector);
}
for (const vector of load("values")) {
  const bytes = Uint8Array.from(Buffer.from(vector.msgpack, "hex"));
  // Inputs and objects stand in arguments only, which a client does not read.
  const argument = /\$input|\$object/.test(JSON.stringify(vector.json));
  expect(asJson(argument ? decode(bytes) : read(bytes)), vector.json, vector);
}

// The proofs of the handshake, and what a listener that picks another version is told.
const shaken = new Map(load("handshake").map((vector) => [vector.name, vector]));
const hello = shaken.get("hello with a secret")!;
const told = hello.says.hello as Record<string, string>;
const greeting = { role: Role.CLIENT, identity: Buffer.from(told.identity!, "hex"), name: "vector", nonce: Buffer.from(told.nonce!, "hex") };
const framed = helloMessage(greeting).getRoot(Handshake).hello;
expect(meaning(framed), told, hello, "as this client says it");
const challenge = Buffer.from(shaken.get("challenge")!.says.challenge!.nonce as string, "hex");
const welcome = shaken.get("welcome with a proof")!;
const secret = Buffer.from("0123456789abcdef");
const more = Buffer.concat([Uint8Array.of(1, 0), Buffer.from(welcome.says.welcome!.identity as string, "hex")]);
expect(Buffer.from(mac(secret, "scaler dialer", greeting, challenge)).toString("hex"), shaken.get("proof")!.says.proof!.mac, hello);
expect(Buffer.from(mac(secret, "scaler listener", greeting, challenge, more)).toString("hex"), welcome.says.welcome!.mac, welcome);
const channel = Buffer.alloc(32, "c");
for (const [name, who, last] of [
  ["proof by TLS", "scaler dialer", channel],
  ["welcome with a proof by TLS", "scaler listener", Buffer.concat([more, channel])],
] as const) {
  const vector = shaken.get(name)!;
  const { mac: expected } = Object.values(vector.says)[0]!;
  expect(Buffer.from(mac(secret, who, greeting, challenge, last)).toString("hex"), expected, vector);
}
const later = newMessage();
const answer = later.initRoot(Handshake)._initWelcome();
answer.magic = 0x52454c4143530a01n;
answer.protocolVersion = 2;
answer.identity = dataOf(new Uint8Array(16));
let refusal = "";
try {
  new Dialer(Role.CLIENT, new Uint8Array(16), "", new Uint8Array()).receive(later);
} catch (error) {
  refusal = (error as Error).message;
}
expect(refusal, "the peer picked protocol version 2, not known here", welcome);
console.log(`${checked} checked, ${wrong} wrong`);
process.exit(wrong ? 1 : 0);
