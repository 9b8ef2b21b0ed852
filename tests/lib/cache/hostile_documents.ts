// Documents of a token cache as they may be and as they must not be: what is in them is of a few people and apps, so that much
// of it collides; how it is written is anybody's.
import * as fc from "fast-check";
import { accessTokenKey, accountKey, idTokenKey, refreshTokenKey, signedOutKey } from "../../../lib/cache/schema.ts";
import { APP, CONTOSO, FABRIKAM, FAMILY_APP, HOST, idToken, jane, john, NOW } from "./sample_replies.ts";

/** A JSON value, whose objects can have several members of one name. */
export type Tree = string | number | boolean | null | readonly Tree[] | { readonly members: readonly Member[] };
type Member = readonly [name: string, value: Tree];

/**
 * Ids that entries may have: GUIDs by case, and those of other providers, which differ by case; ids that others begin with; one
 * that is the middle of null.
 */
export const HOLDERS: readonly string[] = [
  ...[
    jane.homeAccountId,
    john.homeAccountId,
    "subject-1",
    "Subject-1",
    'od"d',
    "j\u00e4ne \u{1F511}",
    "\ud800",
    "",
    "a\\",
  ],
];
const CAPITALS = jane.homeAccountId.toUpperCase();
const APPS = [APP, FAMILY_APP, APP.toUpperCase()], REALMS = [CONTOSO, FABRIKAM, "organizations"];
const HOSTS = [HOST, "login.windows.net", "Login.Microsoftonline.com", "login.microsoftonline.us"];
const TARGETS = ["User.Read", "Mail.Read User.Read openid", "mail.read", ""];
const SECONDS = NOW / 1000;
const SECTIONS = ["AccessToken", "RefreshToken", "IdToken", "Account", "AppMetadata", "LatchkeySignedOut"];

const json: fc.Arbitrary<Tree> = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    fc.string({ unit: "binary", maxLength: 8 }),
    fc.constantFrom<Tree>('"', "\\", '{"', '\\"}', "home_account_id", -0, 1e300, 5, true, null, ""),
    fc.array(tie("tree"), { maxLength: 3 }),
    fc.array(fc.tuple(fc.string({ maxLength: 4 }), tie("tree")), { maxLength: 3 }).map((members) => ({ members })),
  ),
})).tree;

const holder = fc.constantFrom(...HOLDERS, CAPITALS);
const identity = fc.record({
  homeAccountId: fc.oneof({ weight: 4, arbitrary: holder }, { weight: 1, arbitrary: fc.constant(jane.homeAccountId) }),
  environment: fc.constantFrom(...HOSTS),
  clientId: fc.constantFrom(...APPS),
  realm: fc.constantFrom(...REALMS),
});
const target = fc.constantFrom(...TARGETS);

const key: fc.Arbitrary<string> = fc.oneof(
  fc.tuple(identity, target).map(([place, target]) => accessTokenKey(place, target.split(" "))),
  identity.chain((place) =>
    fc.constantFrom(refreshTokenKey(place), idTokenKey(place), accountKey(place), signedOutKey(place))
  ),
  fc.constantFrom(`appmetadata-${HOST}-${APP}`, "", "__proto__", "a", "\u00e4", "1"),
);

const field: fc.Arbitrary<readonly Member[]> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.tuple(identity, target, fc.nat(9)).map(([place, target, number]): Member[] => [
      ["home_account_id", place.homeAccountId],
      ["environment", place.environment],
      ["client_id", place.clientId],
      ["realm", place.realm],
      ["target", target],
      ["secret", number === 9 ? idToken({ tid: CONTOSO }) : `secret-${number}`],
      ["cached_at", String(SECONDS - number)],
      ["expires_on", String(SECONDS + [600, 60, -1, 3600][number % 4]!)],
      ...(number % 3 ? [] : [["extended_expires_on", String(SECONDS + 7200)] as const]),
      ...(number % 2 ? [["family_id", "1"] as const] : []),
    ]),
  },
  { weight: 2, arbitrary: fc.tuple(fc.constant("home_account_id"), fc.oneof(holder, json)).map((one) => [one]) },
  { weight: 1, arbitrary: fc.tuple(fc.string({ maxLength: 5 }), json).map((one) => [one]) },
);

const entry: fc.Arbitrary<Tree> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.array(field, { minLength: 1, maxLength: 3 }).map((fields) => ({ members: fields.flat() })),
  },
  { weight: 1, arbitrary: json },
);

const section: fc.Arbitrary<Tree> = fc.oneof(
  { weight: 9, arbitrary: fc.array(fc.tuple(key, entry), { maxLength: 6 }).map((members) => ({ members })) },
  { weight: 1, arbitrary: json },
);

const root: fc.Arbitrary<Tree> = fc.oneof(
  {
    weight: 15,
    arbitrary: fc.array(
      fc.tuple(
        fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...SECTIONS) }, { weight: 1, arbitrary: fc.string() }),
        section,
      ),
      { maxLength: 8 },
    ).map((members) => ({ members })),
  },
  { weight: 1, arbitrary: json },
);

/** Chooses, again and again the same, by numbers that are given. */
function chooser(numbers: readonly number[]): (sides: number) => number {
  let at = 0;
  return (sides) => numbers.length === 0 ? 0 : numbers[at++ % numbers.length]! % sides;
}

const BLANKS = ["", "", "", " ", "\n", "\t", "\r\n    "];

/** Writes a value, with white space and escapes where they may be. */
function print(tree: Tree, choose: (sides: number) => number): string {
  const blank = () => BLANKS[choose(BLANKS.length)]!;
  const printText = (text: string) =>
    `"${
      Array.from({ length: text.length }, (_, at) => {
        const unit = text.charCodeAt(at), escaped = `\\u${unit.toString(16).padStart(4, "0")}`;
        const isLone = /[\ud800-\udfff]/.test(text.charAt(at));
        if (isLone || unit < 0x20 || choose(20) === 0) return escaped;
        return text.charAt(at) === '"' || text.charAt(at) === "\\" ? `\\${text.charAt(at)}` : text.charAt(at);
      }).join("")
    }"`;
  const printAny = (tree: Tree): string => {
    if (typeof tree === "string") return printText(tree);
    if (typeof tree !== "object" || tree === null) return JSON.stringify(tree);
    if (isArray(tree)) return `[${blank()}${tree.map((item) => blank() + printAny(item) + blank()).join(",")}]`;
    const members = tree.members.map(([name, value]) =>
      blank() + printText(name) + blank() + ":" + blank() + printAny(value) + blank()
    );
    return `{${blank()}${members.join(",")}}`;
  };
  return blank() + printAny(tree) + blank();
}

function isArray(tree: Tree): tree is readonly Tree[] {
  return Array.isArray(tree);
}

/** Documents that are JSON. */
export const jsonDocument: fc.Arbitrary<string> = fc.tuple(root, fc.array(fc.nat(1000), { maxLength: 40 }))
  .map(([tree, numbers]) => print(tree, chooser(numbers)));

/** Bytes that were such a document before somebody cut, overwrote or doubled a part of them. */
export const damagedBytes: fc.Arbitrary<Uint8Array<ArrayBuffer>> = fc.tuple(
  jsonDocument,
  fc.array(fc.tuple(fc.nat(), fc.nat(40), fc.uint8Array({ maxLength: 4 })), { maxLength: 3 }),
  fc.boolean(),
).map(([text, changes, hasMark]) => {
  let bytes = [...new TextEncoder().encode((hasMark ? "\ufeff" : "") + text)];
  for (const [place, length, instead] of changes) {
    const at = bytes.length === 0 ? 0 : place % bytes.length;
    bytes = [...bytes.slice(0, at), ...instead, ...bytes.slice(at + length)];
  }
  return new Uint8Array(bytes);
});

/** Anything that can be in a file. */
export const anyBytes: fc.Arbitrary<Uint8Array<ArrayBuffer>> = fc.oneof(
  { weight: 4, arbitrary: damagedBytes },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }).map((bytes) => new Uint8Array(bytes)) },
);
