import { readFileSync } from "node:fs";
import { Client, Graph, TaskError } from "scaler-client";

const [address, secretFile] = process.argv.slice(2);
const secret = secretFile && readFileSync(secretFile, "utf8").trim();
const client = await Client.connect(address!, { secret });

console.log(await client.submit("math:sqrt", [2.0]).result());

const graph = new Graph();
const a = graph.call("math:sqrt", [16]);
const b = graph.call("operator:add", [a, 1]);
console.log(await client.submitGraph(graph, [b])[0]!.result());

try {
  await client.submit("math:sqrt", [-1]).result();
} catch (error) {
  if (error instanceof TaskError) console.log(`${error.type}: ${error.message}`);
}
await client.close();
