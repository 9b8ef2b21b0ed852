/**
 * What Microsoft's library does not do on Linux, or does in another way than the broker's own wire has it: tests of the suites
 * of brokers that it therefore does not pass. Each was seen with 0.20.7.
 */

/** A test that is not run over Microsoft's library. */
export interface Limit {
  /** The suite's name, without `_test.ts` or `_contract.ts`. */
  readonly suite: string;
  /** The test's name as it stands in the suite. */
  readonly test: string;
  /** What a row of a test with many has in it. @default all rows */
  readonly row?: RegExp;
  /** Why it is not run. */
  readonly why: string;
}

/** The limits that a suite meets. */
export function limitsOf(address: string): readonly Limit[] {
  return LIMITS.filter(({ suite }) => ["test", "contract"].some((kind) => address.endsWith(`/${suite}_${kind}.ts`)));
}

/** Which tests of a suite. */
type Tests = readonly (string | readonly [test: string, row: RegExp])[];

/** By what cannot be done, and by suite. */
const BY_REASON: readonly (readonly [why: string, tests: Readonly<Record<string, Tests>>])[] = [
  [
    "a call is not cancelled: the library waits for the broker's answer on the one connection that it has",
    {
      acquire_token: ["ends a window that several wait for when the last of them goes"],
      application: ["ends its calls when it is closed, whatever they wait for, and asks nothing again"],
      sign_in: [
        "acquireTokenInteractive() lets go at an abort, and ends the window once",
        "ends when the application is closed, and ends the window once",
        "lets go at an abort of the silent step, and opens no window",
        ["goes on after any failure of the hint's account: %j", /hang/],
      ],
    },
  ],
  [
    "calls are made one at a time, each by a dozen milliseconds",
    {
      application: ["answers each of many different requests with its own token"],
      sign_in: ["holds up no silent call", "is one for each call"],
    },
  ],
  [
    "the results have no sub-status, no suberror and no claims",
    {
      acquire_token: [
        "answers the refusal's challenge in the window, of the console unless another is given",
        "throws what the silent step was refused with: %j",
      ],
      application: ["PublicClientApplication.acquireToken() throws the refusal"],
    },
  ],
  [
    "a hint does not reach the broker: SignInSilently takes none, SignInInteractively passes on whom the library has signed in",
    {
      acquire_token: ["always takes a user name to the window as the hint"],
      application: ["sign the device's account in when there is none, or several and none chosen"],
      sign_in: [
        "does not take another person's token for the hint's",
        "goes to the window when the hint is for somebody whom the broker does not know",
        "of %s goes to the window at once",
      ],
    },
  ],
  [
    "the request is the library's own: it names the client's version, and has no prompt",
    {
      application: ["are those of Microsoft's client"],
      sign_in: ["is that of Microsoft's client", "of select_account goes to the window at once, and drops the hint"],
    },
  ],
  [
    "an account's own tenant is asked although the account was not chosen",
    { sign_in: ["sends the account of the device whole when there is one"] },
  ],
  [
    "a window is one by a number, and that of the console is 1",
    {
      sign_in: [
        ["belongs to another by %s", /the console/],
        "belongs to another by Wayland's name",
      ],
    },
  ],
  [
    "a tenant by its domain is looked up at login.microsoftonline.com first",
    {
      application: ["go to the tenant that was asked for"],
      sign_in: ["carries parameters, hints and claims, silently and to the window"],
    },
  ],
  [
    "tokens are answered from the keyring, the broker left alone",
    {
      sign_in: [
        "goes to the window when the sign-in is too old",
        "of none ends with what the account of the device gave",
        "takes a silent answer of a sign-in that is young enough, and no held token",
      ],
    },
  ],
  [
    "a reply has to be complete: what is left out is a failure, or an account that is not listed",
    {
      acquire_token: ["does not take it when another person signs in, unless the person was to choose"],
      application: [
        "does not make an expired token good",
        "does not take another account's token",
        "does not take another's token for the account's where the id token alone says whose it is",
        "keeps one person's accounts in two tenants apart",
        "keeps the text of an error that is none of the known ones",
        "takes accounts with anything left out",
        "tells the log of a bearer token that is bound to a key",
      ],
      proof_of_possession: ["does not let a bearer token pass for one that is bound"],
      sign_in: ["goes to the window when nobody knows how old the sign-in is"],
    },
  ],
  [
    "an account is signed out by a mark in the keyring, without a word to the broker",
    {
      sign_out: [
        "leaves the account where the broker's own are asked for",
        "reaches the broker though the cache cannot be written, and tells of both",
        "takes the account from the broker when that is wanted",
      ],
    },
  ],
  [
    "there are neither cookies nor signatures of requests alone",
    {
      proof_of_possession: [
        "acquireSsoCookies() gives the cookie, and shows it in no inspection",
        "carry the caller's correlation id",
        "end in their time",
        "gives every cookie that there is",
        "let go at an abort",
        "refuses the cookies %j, and does not repeat them",
        "refuses the reply %p, and does not repeat it",
        "signHttpRequest() gives a token that names the request",
      ],
    },
  ],
  [
    "that tokens can be bound shows when one is asked for; the broker is not told whose key it is",
    {
      proof_of_possession: [
        "acquireTokenSilent() gets a token that is bound to a request, anew each time",
        "isPopSupported() tells whether it can",
      ],
    },
  ],
  [
    "the bus is the one that the process was started with, and the broker is looked for once",
    {
      account_source: [
        "and cannot be started, the browser takes over, and the status says why",
        "and proves too old, the browser takes over",
      ],
      sign_in: ["is never repeated, although the bus would start the broker again"],
    },
  ],
];

/** All of them. */
export const LIMITS: readonly Limit[] = BY_REASON.flatMap(([why, suites]) =>
  Object.entries(suites).flatMap(([suite, tests]) =>
    tests.map((test) => typeof test === "string" ? { suite, test, why } : { suite, test: test[0], row: test[1], why })
  )
);
