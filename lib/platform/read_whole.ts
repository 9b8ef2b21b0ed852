/**
 * All that is in an open file.
 *
 * @module
 */

/**
 * Reads to the end, wherever that is by then.
 *
 * @param size How many bytes are expected.
 * @param read Reads into a buffer what begins at a place in the file; gives how many bytes it read, 0 at the end.
 */
export function readWhole(
  size: number,
  read: (buffer: Uint8Array, at: number) => number,
): Uint8Array<ArrayBuffer> {
  // One byte more, so that the end shows without another buffer.
  let bytes = new Uint8Array(size + 1), length = 0;
  for (let more; (more = read(bytes.subarray(length), length)) > 0;) {
    length += more;
    if (length === bytes.length) bytes = grown(bytes);
  }
  return bytes.subarray(0, length);
}

function grown(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(bytes.length * 2);
  larger.set(bytes);
  return larger;
}
