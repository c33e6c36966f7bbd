export { type TlsOptions } from "./connection.js";
export { Client, type ClientOptions, type Future, Graph, type Options } from "./client.js";
export * from "./errors.js";
export { NdArray, Node, StoredObject, type Value } from "./values.js";
