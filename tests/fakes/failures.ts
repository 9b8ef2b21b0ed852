/** What can go wrong between an app and its broker, and what has to come of it: one table for the library and the command line. */
import type { LatchkeyErrorCode } from "../../mod.ts";
import type { Reply } from "./behaviour.ts";
import { HOSTILE_DBUS_TEXT, HOSTILE_TEXT, HOSTILE_TEXTS } from "./hostile_texts.ts";
import type { Stage } from "./stage.ts";

/** Methods of the broker that a failure can happen to. */
export type Method =
  | "getAccounts"
  | "acquireTokenSilently"
  | "acquireTokenInteractively"
  | "acquirePrtSsoCookie"
  | "generateSignedHttpRequest";

/** All of them. */
export const METHODS: readonly Method[] = [
  "getAccounts",
  "acquireTokenSilently",
  "acquireTokenInteractively",
  "acquirePrtSsoCookie",
  "generateSignedHttpRequest",
];

export interface Failure {
  readonly name: string;
  /** What has to come of it. */
  readonly code: LatchkeyErrorCode;
  /** The broker's answer to each method that this can happen to. */
  readonly replies: { readonly [method in Method]?: Reply };
  /** What happens before the call. */
  readonly before?: (stage: Stage) => void | Promise<void>;
  /** What happens while the broker has the call. */
  readonly meanwhile?: (stage: Stage) => void | Promise<void>;
  /** What makes the broker answer again, when its normal behaviour is not enough. */
  readonly mend?: (stage: Stage) => void | Promise<void>;
  /** Whether the application does without the broker from then on. */
  readonly isLasting?: boolean;
  /** What puts the stage in order again. */
  readonly restore?: (stage: Stage) => void | Promise<void>;
}

/** A token that is in replies which cannot be used: it is to be found nowhere. */
export const SECRET = "eyJhbGciOiJub25lIn0.c2VjcmV0LXRva2Vu.c2lnbmF0dXJl";

const ACCOUNT = { homeAccountId: "o.11111111-1111-1111-1111-111111111111", username: "jane@contoso.com" };
const MEBI = 1_048_576, DEPTH = 100_000;
const NESTED = "[".repeat(DEPTH) + "]".repeat(DEPTH);

const text = (text: string, repeat = 1): Reply => ({ kind: "text", text, repeat });
const json = (value: unknown): Reply => text(JSON.stringify(value));
const token = (fields: object): Reply =>
  json({
    brokerTokenResponse: { accessToken: SECRET, accessTokenType: 0, expiresOn: 4e12, account: ACCOUNT, ...fields },
  });
const accounts = (...accounts: unknown[]): Reply => json({ accounts });
const body = (signature: string, ...body: unknown[]): Reply => ({ kind: "body", signature, body });
const dbusError = (name: string, message = "no, thanks"): Reply => ({ kind: "dbus_error", name, message });

/** What calls to any method can be answered with. */
const toAll = (reply: Reply) => ({
  getAccounts: reply,
  acquireTokenSilently: reply,
  acquireTokenInteractively: reply,
});
/** A person may take as long as they like, so a window has no time limit. */
const toImpatient = (reply: Reply) => ({ getAccounts: reply, acquireTokenSilently: reply });
const toTokens = (reply: Reply) => ({ acquireTokenSilently: reply, acquireTokenInteractively: reply });
const toAccounts = (reply: Reply) => ({ getAccounts: reply });

const restart = async ({ broker }: Stage) => {
  await broker.kill();
  await broker.start();
};

const PROCESSES: readonly Failure[] = [
  {
    name: "never answers",
    replies: {
      ...toImpatient({ kind: "hang" }),
      acquirePrtSsoCookie: { kind: "hang" },
      generateSignedHttpRequest: { kind: "hang" },
    },
    code: "timed_out",
  },
  {
    name: "owns its name and takes no messages",
    replies: toImpatient({ kind: "hang" }),
    before: ({ broker }) => broker.pause(),
    mend: ({ broker }) => broker.resume(),
    code: "timed_out",
  },
  { name: "drops its name", replies: toImpatient({ kind: "drop_name" }), mend: restart, code: "timed_out" },
  {
    name: "loses its name to another process",
    replies: toImpatient({ kind: "hang" }),
    meanwhile: ({ rival }) => rival.start(),
    restore: async (stage) => {
      await stage.rival.kill();
      await restart(stage);
    },
    code: "timed_out",
  },
  { name: "dies in the call", replies: toAll({ kind: "exit" }), mend: restart, code: "broker_unavailable" },
  {
    name: "is gone",
    replies: toAll({ kind: "hang" }),
    before: ({ broker }) => broker.kill(),
    mend: restart,
    code: "broker_unavailable",
  },
  {
    name: "loses the bus daemon",
    replies: toAll({ kind: "hang" }),
    meanwhile: ({ bus }) => bus.restart(),
    mend: restart,
    code: "broker_unavailable",
  },
];

const DBUS: readonly Failure[] = [
  ...[["i", 1], ["ss", "{}", SECRET], ["as", ["{}"]], ["ay", [123, 125]], ["(s)", ["{}"]], [""]].map(
    ([signature, ...values]): Failure => ({
      name: `returns ${signature ? `the D-Bus types ${signature}` : "nothing"}`,
      replies: toAll(body(signature as string, ...values)),
      code: "invalid_response",
    }),
  ),
  {
    name: "fails with an error of its own",
    replies: toAll(dbusError("com.contoso.Error.Own", HOSTILE_DBUS_TEXT + "x".repeat(10_000))),
    code: "unexpected",
  },
  { name: "denies access", replies: toAll(dbusError("org.freedesktop.DBus.Error.AccessDenied")), code: "unexpected" },
  {
    name: "fails without a text",
    replies: toAll(dbusError("org.freedesktop.DBus.Error.Failed", "")),
    code: "unexpected",
  },
  { name: "quotes a token", replies: toAll(dbusError("com.contoso.Error.Own", `bad ${SECRET}`)), code: "unexpected" },
  {
    name: "does not know the method",
    replies: toImpatient(dbusError("org.freedesktop.DBus.Error.UnknownMethod")),
    code: "broker_unavailable",
    isLasting: true,
  },
  { name: "has no reply", replies: toAll(dbusError("org.freedesktop.DBus.Error.NoReply")), code: "broker_unavailable" },
];

const TEXTS: readonly Failure[] = [
  { name: "answers nothing", replies: toAll(text("")), code: "broker_unavailable" },
  // Such a reply takes the fake half a second.
  {
    name: "answers 64 MiB",
    replies: { acquireTokenSilently: text("0123456789abcdef", 4 * MEBI) },
    code: "invalid_response",
  },
  ...([
    ["what is not JSON", text(`token: ${SECRET}`)],
    ["JSON that is cut", text(`{"brokerTokenResponse":{"accessToken":"${SECRET}","accounts":[`)],
    ["HTML", text(`<!doctype html><title>${SECRET}</title>`)],
    ["100,000 nested arrays", text(NESTED)],
    ["100,000 nested arrays in an object", text(`{"brokerTokenResponse":${NESTED},"accounts":${NESTED}}`)],
    ["100,000 nested arrays in an account", text(`{"accounts":[{"homeAccountId":"o.t","x":${NESTED}}],"error":null}`)],
    ["null", text("null")],
    ["an array", text(`["${SECRET}"]`)],
    ["a string", text(`"${SECRET}"`)],
    ["a number", text("1")],
    ["an empty object", text("{}")],
    ["null where an object should be", json({ brokerTokenResponse: null, accounts: null })],
    ["other types than it should", json({ brokerTokenResponse: [SECRET], accounts: { 0: ACCOUNT } })],
    [
      "keys that name the prototype",
      text(`{"__proto__":{"brokerTokenResponse":{"accessToken":"${SECRET}","expiresOn":4e12},"accounts":[]}}`),
    ],
    [
      "a key twice, the last one wrong",
      text(`{"accounts":[],"accounts":1,"brokerTokenResponse":{},"brokerTokenResponse":2}`),
    ],
  ] as const).map(([what, reply]): Failure => ({
    name: `answers ${what}`,
    replies: toAll(reply),
    code: "invalid_response",
  })),
];

const REFUSALS: readonly Failure[] = [
  ...Object.entries(HOSTILE_TEXTS).map(([what, context]): Failure => ({
    name: `refuses with ${what}`,
    replies: toTokens({ kind: "broker_error", status: 6, context, subError: context }),
    code: "refused",
  })),
  {
    name: "refuses with all that",
    replies: toAll({ kind: "broker_error", status: 6, context: HOSTILE_TEXT }),
    code: "refused",
  },
  { name: "refuses with a text alone", replies: toAll(json({ error: HOSTILE_TEXT })), code: "unexpected" },
  {
    name: "refuses quoting a token",
    replies: toAll(json({ error: { context: `bad ${SECRET}` } })),
    code: "unexpected",
  },
  { name: "refuses with a number", replies: toAll(json({ error: 7 })), code: "unexpected" },
  { name: "refuses with an array", replies: toAll(json({ error: [2, SECRET] })), code: "unexpected" },
  { name: "refuses with nothing said", replies: toAll(json({ error: {} })), code: "unexpected" },
  {
    name: "refuses with other types than it should",
    replies: toAll(
      json({ error: { status: "2", subStatus: [], tag: {}, errorCode: true, context: 7, subError: null } }),
    ),
    code: "unexpected",
  },
  {
    name: "refuses with numbers out of all range",
    replies: toAll(
      text('{"error":{"status":-1e308,"subStatus":1e999,"tag":-9007199254740993,"errorCode":99999999999}}'),
    ),
    code: "unexpected",
  },
  { name: "refuses with a broken number", replies: toAll(json({ error: { status: 2.5 } })), code: "unexpected" },
  {
    name: "refuses under keys that name the prototype",
    replies: toAll(text('{"error":{"__proto__":{"status":2},"constructor":{"status":2}}}')),
    code: "unexpected",
  },
  {
    name: "refuses twice, the last time otherwise",
    replies: toAll(text('{"error":{"status":2,"status":6}}')),
    code: "refused",
  },
];

const TOKENS: readonly Failure[] = ([
  ["no token", { accessToken: undefined }],
  ["an empty token", { accessToken: "" }],
  ["a token that is a number", { accessToken: 1 }],
  ["a token that is a list", { accessToken: [SECRET] }],
  ["a token with a space", { accessToken: `${SECRET} b` }],
  ["a token with a quotation mark", { accessToken: `${SECRET}"` }],
  ["a token with letters that no header carries", { accessToken: `${SECRET}é` }],
  ...Object.entries(HOSTILE_TEXTS).map(([what, hostile]) =>
    [`a token with ${what}`, { accessToken: SECRET + hostile }] as const
  ),
  ["a token of an unknown type", { accessTokenType: 7 }],
  ["a token of a type with lines of its own", { accessTokenType: "Bearer\r\nSet-Cookie: a=b" }],
  ["a token without an end", { expiresOn: undefined }],
  ["a token that ends in words", { expiresOn: "soon" }],
  ["a token that ended before all time", { expiresOn: -1 }],
  ["a token that ends after all time", { expiresOn: 1e300 }],
  ["a token that ends nowhere", { expiresOn: [] }],
  ["a token of nobody", { account: undefined, clientInfo: HOSTILE_TEXT }],
  ["a token of a tenant that is none", { account: { ...ACCOUNT, realm: "../common" } }],
] as const).map(([what, fields]) => ({
  name: `gives ${what}`,
  replies: toTokens(token(fields)),
  code: "invalid_response",
}));

const ACCOUNTS: readonly Failure[] = ([
  ["a number", accounts(1)],
  ["null", accounts(null)],
  ["a list", accounts([ACCOUNT])],
  ["one whose tenant is none", accounts({ homeAccountId: "o.t", realm: ".." })],
  ["one whose tenant is hostile", accounts({ homeAccountId: "o.t", realm: HOSTILE_TEXT })],
] as const).map(([what, reply]) => ({
  name: `lists ${what} among the accounts`,
  replies: toAccounts(reply),
  code: "invalid_response",
}));

const cookie = (cookieName: unknown, cookieContent: unknown): Reply =>
  json({ cookieItems: [{ cookieName, cookieContent }] });

const COOKIES: readonly Failure[] = ([
  ["a number for cookies", json({ cookieItems: 1 })],
  ["a list of numbers for cookies", json({ cookieItems: [1] })],
  ["a cookie without a name", cookie("", SECRET)],
  ["a cookie without a value", cookie("a", undefined)],
  ["a cookie that is a list", cookie("a", [SECRET])],
  ["a cookie that ends its header", cookie("a", `${SECRET}; Domain=contoso.com`)],
  ["a cookie whose name does", cookie("a=b; c", SECRET)],
  ["a cookie whose name is hostile", cookie(`a${HOSTILE_TEXT}`, SECRET)],
  ...Object.entries(HOSTILE_TEXTS).map(([what, hostile]) =>
    [`a cookie with ${what}`, cookie("a", SECRET + hostile)] as const
  ),
] as const).map(([what, reply]) => ({
  name: `gives ${what}`,
  replies: { acquirePrtSsoCookie: reply },
  code: "invalid_response",
}));

const SIGNED: readonly Failure[] = ([
  ["no signed request", {}],
  ["a number for a signed request", { signedHttpRequest: 1 }],
  ["a signed request with a space", { signedHttpRequest: `${SECRET} b` }],
  ["a signed request that is hostile", { signedHttpRequest: SECRET + HOSTILE_TEXT }],
] as const).map(([what, reply]) => ({
  name: `gives ${what}`,
  replies: { generateSignedHttpRequest: json(reply) },
  code: "invalid_response",
}));

/** Failures of a broker that was found: each with each method that it can happen to, for `test.each`. */
export const FAILURES: readonly (readonly [method: Method, name: string, failure: Failure])[] = [
  ...[PROCESSES, DBUS, TEXTS, REFUSALS, TOKENS, ACCOUNTS, COOKIES, SIGNED],
].flat().flatMap((failure) =>
  METHODS.filter((method) => failure.replies[method]).map((method) => [method, failure.name, failure] as const)
);
