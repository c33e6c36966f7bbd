// Arguments and results: MessagePack with the extension types that protocol/README.md names.
import { decode, encode, ExtensionCodec } from "@msgpack/msgpack";
import { ScalerError } from "./errors.js";

const ARRAY = 1;
const INPUT = 2;
const OBJECT = 3;

type Elements = Float64Array | Float32Array | BigInt64Array | BigUint64Array | Int32Array | Uint32Array | Int16Array | Uint16Array | Int8Array | Uint8Array;
const TYPES: Record<string, new (buffer: ArrayBuffer) => Elements> = {
  "<f8": Float64Array,
  "<f4": Float32Array,
  "<i8": BigInt64Array,
  "<u8": BigUint64Array,
  "<i4": Int32Array,
  "<u4": Uint32Array,
  "<i2": Int16Array,
  "<u2": Uint16Array,
  "|i1": Int8Array,
  "|u1": Uint8Array,
  "|b1": Uint8Array,
};

/** What tasks take and give. Typed arrays other than Uint8Array become arrays of NumPy; a Uint8Array is bytes. */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Date
  | Elements
  | NdArray
  | Node
  | StoredObject
  | Value[]
  | { [name: string]: Value };

/** An array of NumPy: elements in C order, little-endian. */
export class NdArray {
  constructor(
    /** NumPy's text, "<f8". */
    readonly dtype: string,
    readonly shape: number[],
    readonly bytes: Uint8Array,
  ) {}

  static of(elements: Elements, shape: number[] = [elements.length]): NdArray {
    const found = Object.entries(TYPES).find(([, type]) => elements instanceof type);
    const bytes = new Uint8Array(elements.buffer, elements.byteOffset, elements.byteLength);
    return new NdArray(found![0], shape, bytes);
  }

  /** Its elements, one after the other. Throws ScalerError for a dtype that JavaScript has no array for. */
  elements(): Elements {
    const type = TYPES[this.dtype];
    if (!type) throw new ScalerError(`JavaScript has no array of ${this.dtype}`);
    return new type(Uint8Array.from(this.bytes).buffer);
  }
}

/** A call of a graph, as an argument of others. */
export class Node {
  /** @internal */
  constructor(readonly index: number) {}
}

/** A value in the object storage, as an argument of many calls. It stays there until free() or the end of the client. */
export class StoredObject {
  /** @internal */
  constructor(
    readonly reference: Uint8Array,
    readonly free: () => void,
  ) {}
}

interface Context {
  /** Of the graph whose node is written. */
  dependencies?: number[];
}

const codec = new ExtensionCodec<Context>();
codec.register({
  type: ARRAY,
  encode: (value) => {
    if (value instanceof NdArray) return writtenArray(value);
    const typed = ArrayBuffer.isView(value) && !(value instanceof Uint8Array || value instanceof DataView);
    return typed ? writtenArray(NdArray.of(value as Elements)) : null;
  },
  decode: readArray,
});
codec.register({
  type: INPUT,
  encode: (value, { dependencies }) => {
    if (!(value instanceof Node)) return null;
    if (!dependencies) throw new ScalerError("a node of a graph is an argument in its graph only");
    if (!dependencies.includes(value.index)) dependencies.push(value.index);
    return new Uint8Array(Uint32Array.of(dependencies.indexOf(value.index)).buffer);
  },
  decode: () => {
    throw new ScalerError("a result that refers to an input");
  },
});
codec.register({
  type: OBJECT,
  encode: (value) => (value instanceof StoredObject ? value.reference : null),
  decode: () => {
    throw new ScalerError("a result that refers to an object");
  },
});

/** As bytes. Nodes of a graph become inputs, numbered as `dependencies` has them, which grows. */
export function written(value: Value, dependencies?: number[]): Uint8Array {
  return encode(value, { extensionCodec: codec, useBigInt64: true, context: { dependencies } });
}

export function read(bytes: Uint8Array): Value {
  return narrowed(decode(bytes, { extensionCodec: codec, useBigInt64: true, context: {} }) as Value);
}

/** Integers that a number holds exactly are numbers. */
function narrowed(value: Value): Value {
  if (typeof value === "bigint") return BigInt(Number(value)) === value && Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Array.isArray(value)) return value.map(narrowed);
  if (value !== null && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype)
    return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, narrowed(entry as Value)]));
  return value;
}

function writtenArray({ dtype, shape, bytes }: NdArray): Uint8Array {
  const head = [dtype.length, ...Buffer.from(dtype, "ascii"), shape.length];
  const sizes = new Uint8Array(BigUint64Array.from(shape, BigInt).buffer);
  return Buffer.concat([Uint8Array.from(head), sizes, bytes]);
}

function readArray(content: Uint8Array): NdArray {
  const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
  const length = view.getUint8(0);
  const dtype = Buffer.from(content.subarray(1, 1 + length)).toString("ascii");
  const rank = view.getUint8(1 + length);
  const begin = 2 + length + 8 * rank;
  const shape = Array.from({ length: rank }, (_, i) => Number(view.getBigUint64(2 + length + 8 * i, true)));
  return new NdArray(dtype, shape, Uint8Array.from(content.subarray(begin)));
}
