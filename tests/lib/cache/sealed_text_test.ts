import { expect, test } from "bun:test";
import { keyIdOf, seal, type SealingKey, unseal } from "../../../lib/cache/sealed_text.ts";

const PLACE = { place: "a.sealed" };
const TEXT = 'tökens of {"jane@contoso.com"}';

function newKey(id: string = crypto.randomUUID()): SealingKey {
  return { id, bytes: crypto.getRandomValues(new Uint8Array(32)) };
}

async function sealed(key: SealingKey): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await seal(TEXT, key, PLACE));
}

test("unseal() reads what seal() made, and the empty text, too", async () => {
  const key = newKey();
  expect(await unseal(await sealed(key), key, PLACE)).toBe(TEXT);
  expect(await unseal(new Uint8Array(await seal("", key, PLACE)), key, PLACE)).toBe("");
});

test("seal() makes something else each time, in which the text is not", async () => {
  const key = newKey(), [one, other] = [await sealed(key), await sealed(key)];
  expect(one).not.toEqual(other);
  expect(new TextDecoder().decode(one)).not.toContain("jane");
});

test("keyIdOf() tells the key, and nothing of what is not sealed", async () => {
  const key = newKey();
  expect(keyIdOf(await sealed(key))).toBe(key.id);
  expect(keyIdOf(new TextEncoder().encode('{"AccessToken":{}} and so on, long enough'))).toBeUndefined();
  expect(keyIdOf(new Uint8Array())).toBeUndefined();
});

test("unseal() reads nothing that was changed, in whatever byte", async () => {
  const key = newKey(), whole = await sealed(key);
  for (let index = 0; index < whole.length; index++) {
    const changed = whole.slice();
    changed[index]! ^= 1;
    expect(await unseal(changed, key, PLACE)).toBeUndefined();
  }
});

test("unseal() reads nothing that was cut short, at whatever byte", async () => {
  const key = newKey(), whole = await sealed(key);
  for (let length = 0; length < whole.length; length++) {
    expect(await unseal(whole.slice(0, length), key, PLACE)).toBeUndefined();
  }
});

test("unseal() reads nothing of another key, nor of another place", async () => {
  const key = newKey(), whole = await sealed(key);
  expect(await unseal(whole, newKey(), PLACE)).toBeUndefined();
  expect(await unseal(whole, newKey(key.id), PLACE)).toBeUndefined();
  expect(await unseal(whole, key, { place: "b.sealed" })).toBeUndefined();
});

test("seal() refuses a key that has no UUID", async () => {
  await expect(seal(TEXT, newKey("jane"), PLACE)).rejects.toThrow(TypeError);
});
