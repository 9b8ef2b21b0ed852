// What a person can paste in place of the address that the browser ended at.
import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { parseAuthority } from "../../../lib/authority.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { signInByBrowser } from "../../../lib/oauth/browser_sign_in.ts";
import { findProvider } from "../../../lib/oauth/provider.ts";
import type { SessionFacts } from "../../../lib/runtime/browser.ts";
import { failure } from "../../fixture.ts";
import { FUZZ_TIMEOUT_MS, fuzzing } from "../../tools/fuzz.ts";

const ISSUER = "https://login.contoso.com";
const METADATA = {
  issuer: ISSUER,
  authorization_endpoint: `${ISSUER}/authorize`,
  token_endpoint: `${ISSUER}/token`,
  jwks_uri: `${ISSUER}/keys`,
};
const SSH: SessionFacts = {
  system: "linux",
  isWsl: false,
  isContainer: false,
  variable: () => "10.0.0.1 1 10.0.0.2 22",
};

/** The address that a sign-in ends at, and the `state` that belongs there. */
interface Expected {
  readonly redirectUri: string;
  readonly state: string;
}

/** A text that is not the answer, made of what the answer would be. */
type Paste = (expected: Expected) => string;

const anyText = fc.string({ unit: "binary" }).filter((text) => text.replaceAll(/\s/g, "") !== "");
const wrongState = fc.oneof(
  fc.constant<Paste>(({ state }) => `${state}A`),
  fc.constant<Paste>(({ state }) => state.slice(1)),
  fc.constant<Paste>(({ state }) => state.slice(0, -1) + (state.endsWith("A") ? "B" : "A")),
  fc.constant<Paste>(({ state }) => state.toLowerCase() === state ? state.toUpperCase() : state.toLowerCase()),
  fc.string().map((text): Paste => () => encodeURIComponent(text)),
);
const notTheAnswer: fc.Arbitrary<Paste> = fc.oneof(
  anyText.map((text): Paste => () => text),
  fc.webUrl({ withQueryParameters: true, withFragments: true }).map((url): Paste => () => url),
  wrongState.map((paste): Paste => (expected) => `${expected.redirectUri}?code=a&state=${paste(expected)}`),
  wrongState.map((paste): Paste => (expected) =>
    `${expected.redirectUri}?error=access_denied&state=${paste(expected)}`
  ),
  wrongState.map((paste): Paste => (expected) =>
    `${expected.redirectUri}?code=a&state=${expected.state}&state=${paste(expected)}`
  ),
  // Where no browser puts it: the answer alone, in the fragment, in the path, in the name of a user.
  fc.constantFrom<Paste>(
    ({ state }) => `code=a&state=${state}`,
    ({ state }) => `?code=a&state=${state}`,
    ({ redirectUri, state }) => `${redirectUri}#code=a&state=${state}`,
    ({ redirectUri, state }) => `${redirectUri}/code=a&state=${state}`,
    ({ state }) => `http://code=a&state=${state}@localhost/`,
    ({ redirectUri, state }) => `${redirectUri}?code=a&State=${state}`,
    // Another address than this sign-in's redirect URI.
    ({ state }) => `http://localhost:1/?code=a&state=${state}`,
    ({ redirectUri, state }) => `${redirectUri.replace(/\/$/, "")}/elsewhere?code=a&state=${state}`,
    ({ redirectUri, state }) => `${redirectUri.replace("http:", "https:")}?code=a&state=${state}`,
  ),
);
/** Where a terminal breaks a line, or a person presses Enter twice. */
const broken = fc.tuple(fc.nat(), fc.constantFrom("\n", "\r\n", " ", "\t", "\n\n  "));

test("signInByBrowser() takes no pasted text but the answer, and then takes that", async () => {
  const fetch = () => Promise.resolve(Response.json(METADATA));
  const provider = await findProvider(parseAuthority(ISSUER), { fetch });
  const property = fc.asyncProperty(fc.array(notTheAnswer, { maxLength: 10 }), broken, async (pastes, [at, space]) => {
    let expected: Expected | undefined, reads = 0;
    const signIn = signInByBrowser(provider, { clientId: "app", scopes: ["api.read"] }, {
      ...{ session: SSH, timeLimitMs: 60_000, openBrowser: () => false },
      fetch: () => Promise.reject(new LatchkeyError("no_network", "The token endpoint was asked")),
      onSignInAddress({ url }) {
        const { searchParams } = new URL(url);
        expected = { redirectUri: searchParams.get("redirect_uri")!, state: searchParams.get("state")! };
      },
      readRedirect: () => {
        const paste = pastes[reads++];
        if (paste) return Promise.resolve(paste(expected!));
        const answer = `${expected!.redirectUri}?code=a&state=${expected!.state}`, place = at % answer.length;
        return Promise.resolve(answer.slice(0, place) + space + answer.slice(place));
      },
    });
    expect((await failure(signIn)).message).toBe("The token endpoint was asked");
    expect(reads).toBe(pastes.length + 1);
  });
  await fc.assert(property, fuzzing(100));
}, FUZZ_TIMEOUT_MS);
