// Everything that the client can do, on a running cluster: tour.js ADDRESS [SECRET_FILE [break]]. Exit code 0 if all came out right.
// For tls:// addresses the environment names files: SCALER_TLS_CA, and SCALER_TLS_CERTIFICATE and SCALER_TLS_KEY if they are asked for.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { Cancelled, Client, Graph, NdArray, TaskError, type Future } from "scaler-client";

function expect(found: unknown, expected: unknown, what: string): void {
  const good = isDeepStrictEqual(found, expected);
  console.log(good ? `good: ${what}` : `WRONG: ${what}: ${String(found)} is not ${String(expected)}`);
  if (!good) process.exit(1);
}

async function errorOf(future: Future): Promise<Error> {
  return future.result().then(
    (value) => new Error(`no error, but ${String(value)}`),
    (error: Error) => error,
  );
}

const [address, secretFile, toBreak] = process.argv.slice(2);
const secret = secretFile && readFileSync(secretFile, "utf8").trim();
const pem = (name: string): Buffer | undefined => (process.env[name] ? readFileSync(process.env[name]) : undefined);
const tls = { ca: pem("SCALER_TLS_CA"), certificate: pem("SCALER_TLS_CERTIFICATE"), key: pem("SCALER_TLS_KEY") };
const client = await Client.connect(address!, { secret, tls, name: "tour" });

// One call, and one with arguments by keyword.
expect(await client.submit("math:sqrt", [2.25]).result(), 1.5, "a call");
expect(await client.submit("builtins:sorted", [[3, 1, 2]], { reverse: true }).result(), [3, 2, 1], "keywords");
expect(await client.submit("builtins:pow", [2, 60]).result(), 2n ** 60n, "an integer that no number holds");
const bytes = await client.submit("operator:add", [Uint8Array.of(0, 255), Uint8Array.of(7)]).result();
expect(bytes, Uint8Array.of(0, 255, 7), "bytes");

// Many calls of one function.
const squares = client.submitMany("math:pow", Array.from({ length: 1000 }, (_, i) => [i, 2]));
const values = await Promise.all(squares.map((square) => square.result()));
expect((values as number[]).reduce((sum, value) => sum + value), 332833500, "a thousand calls");

// A graph: calls that take results of others, at any depth of their arguments.
const graph = new Graph();
const a = graph.call("operator:add", [1, 2]);
const b = graph.call("operator:mul", [a, 10]);
const c = graph.call("builtins:sum", [[a, b, 100]]);
const wanted = client.submitGraph(graph, [c, a]).map((future) => future.result());
expect(await Promise.all(wanted), [133, 3], "a graph");

// Large values travel through the object storage; one that many calls take, once.
const numbers = Float64Array.from({ length: 500_000 }, (_, i) => i);
const doubled = (await client.submit("numpy:add", [numbers, numbers]).result()) as NdArray;
expect([doubled.dtype, doubled.shape], ["<f8", [500_000]], "a large array");
expect(doubled.elements().at(-1), 999_998, "its elements");
const object = await client.put(numbers);
expect(await client.submit("builtins:len", [object]).result(), 500_000, "an object");
expect(await client.submit("numpy:max", [object]).result(), 499_999, "the object again");

// Errors have the name of their type, their text, and the traceback.
const error = (await errorOf(client.submit("math:sqrt", [-1]))) as TaskError;
expect([error.type, error.message], ["builtins.ValueError", "math domain error"], "an error");
expect(error.traceback.includes("ValueError"), true, "its traceback");
const missing = (await errorOf(client.submit("math:nothing", [1]))) as TaskError;
expect(missing.type, "scaler.errors.FunctionNotFoundError", "a function that is not there");
const unwritable = (await errorOf(client.submit("builtins:set", [[1, 2]]))) as TaskError;
expect(unwritable.type, "scaler.errors.SerializationError", "a result that cannot be written");

// Options, and cancel.
const never = client.submit("math:sqrt", [1], {}, { capabilities: ["nobody has this"] });
never.cancel();
expect((await errorOf(never)) instanceof Cancelled, true, "a cancelled task");
const endless = client.submit("time:sleep", [600]);
await sleep(500);
endless.cancel();
expect((await errorOf(endless)) instanceof Cancelled, true, "a task that was cancelled while it ran");
const late = (await errorOf(client.submit("time:sleep", [60], {}, { timeoutMilliseconds: 200 }))) as TaskError;
expect([late.type, late.message.includes("limit is 0.200 s")], ["", true], "a task that runs too long");

if (toBreak) {
  // What the object storage loses is put there again: say "lose" on the standard output, and wait for a line.
  const lines = createInterface(process.stdin);
  const lost = await client.put(numbers);
  console.log("lose");
  await lines.question("");
  expect(await client.submit("numpy:max", [lost]).result(), 499_999, "an object that was lost");
  // What is under way when the connection breaks goes on.
  const slow = client.submit("time:sleep", [1]);
  console.log("break");
  await lines.question("");
  lines.close();
  await slow.result();
  expect(await client.submit("math:sqrt", [4]).result(), 2, "a call after the connection broke");
}
object.free();
await client.close();
console.log("done");
