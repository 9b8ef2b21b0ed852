// The text of a broker's refusal, in which the server's error stands between quotation marks.
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { refusalError } from "../../../lib/broker/errors.ts";
import { HOSTILE_TEXTS, UNSAFE } from "../../fakes/hostile_texts.ts";
import { FUZZ_TIMEOUT_MS, fuzzing } from "../../tools/fuzz.ts";

const CONTEXT = { correlationId: "id", flow: "broker", clientId: "app", redirectUri: "u", scopes: ["s"] } as const;
const word = fc.stringMatching(/^[a-z_.-]{1,100}$/);
const noise = fc.array(
  fc.oneof(
    fc.constantFrom("Code:", "code: '", "suberror: '", "suberror:", "'", "''", " ", "(pii)", "AADSTS50011", "\\'"),
    fc.constantFrom(...Object.values(HOSTILE_TEXTS)),
    fc.string({ unit: "binary", maxLength: 50 }),
  ),
  { maxLength: 20 },
).map((parts) => parts.join(""));
const status = fc.integer({ min: -1, max: 22 });
const numbers = { tag: fc.option(fc.integer()), errorCode: fc.option(fc.double()) };

test("refusalError() of any text has words that can be printed, and says who refused", () => {
  fc.assert(
    fc.property(status, noise, fc.option(noise), fc.record(numbers), (status, text, subError, { tag, errorCode }) => {
      const more = { subError: subError ?? undefined, tag: tag ?? undefined, errorCode: errorCode ?? undefined };
      const error = refusalError({ status, text, ...more }, CONTEXT);
      expect(error.error ?? "").toMatch(/^[\w.-]{0,100}$/);
      for (const shown of [error.message, error.subError ?? "", error.hint ?? ""]) expect(shown).not.toMatch(UNSAFE);
      expect(error.broker!.status).toBe(status);
    }),
    fuzzing(300),
  );
}, FUZZ_TIMEOUT_MS);

test("refusalError() finds the server's words in the broker's text, whatever the description says", () => {
  const description = noise.filter((text) => text.length < 3_000);
  fc.assert(
    fc.property(status, word, word, description, (status, error, subError, text) => {
      const said = `Recieved an error from AAD. Code: '${error}' description: '${text}' suberror: '${subError}'`;
      expect(refusalError({ status, text: said }, CONTEXT)).toMatchObject({ error, subError });
    }),
    fuzzing(300),
  );
}, FUZZ_TIMEOUT_MS);
