/** What a request must be like for the native broker to take it. It says which key is wrong. */
import type { BrokerError, Sender } from "./behaviour.ts";

/** A request that the broker refuses, with the wire's status. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly details: BrokerError;

  constructor(status: number, context: string) {
    super(context);
    this.details = { status, context };
  }
}

/** Statuses by the wire's numbers, which differ from MSALRuntime's from 15 on. */
export const WIRE_STATUS = {
  unexpected: 0,
  interactionRequired: 2,
  contractViolation: 6,
  userCanceled: 7,
  accountUnusable: 13,
  accountNotFound: 19,
} as const;

export type JsonObject = { readonly [key: string]: unknown };

type Rule = (value: unknown) => boolean;
type Rules = Readonly<Record<string, Rule>>;

const REDIRECT_URI = "https://login.microsoftonline.com/common/oauth2/nativeclient";
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const RESERVED_SCOPES: readonly unknown[] = ["openid", "profile", "offline_access"];

const isString: Rule = (value) => typeof value === "string";
const isFilled: Rule = (value) => isString(value) && value !== "";
const isNumber: Rule = (value) => typeof value === "number";
const isBoolean: Rule = (value) => typeof value === "boolean";
const isStringRecord: Rule = (value) => isObject(value) && Object.values(value).every(isString);
const isScopeList: Rule = (value) => Array.isArray(value) && value.length > 0 && value.every(isFilled);
const isJson: Rule = (value) => typeof value === "string" && parsesToObject(value);
const isUrl: Rule = (value) => typeof value === "string" && URL.canParse(value);
const isHttpsUrl: Rule = (value) => isUrl(value) && (value as string).startsWith("https://");
const isAccount: Rule = (value) => isObject(value) && isFilled(value.homeAccountId) && isFilled(value.username);
const either = (...rules: readonly Rule[]): Rule => (value) => rules.some((rule) => rule(value));
const is = (...expected: readonly unknown[]): Rule => (value) => expected.includes(value);

const POP_PARAMETERS: Rules = { clientClaims: isString, httpMethod: isFilled, nonce: isString, uriHost: isFilled };

const AUTH_PARAMETERS: Rules = {
  accessTokenToRenew: isString,
  account: either(is(null), isAccount),
  additionalQueryParametersForAuthorization: isStringRecord,
  authority: isHttpsUrl,
  clientId: isFilled,
  decodedClaims: either(is(""), isJson),
  enrollmentId: isString,
  isTestMode: isBoolean,
  password: isString,
  popParams: either(is(null), isObject),
  redirectUri: is(REDIRECT_URI),
  requestedScopes: isScopeList,
  username: isString,
  uxContextHandle: isNumber,
};

/** The three strings of every call, the last one parsed. */
export function checkEnvelope(protocolVersion: string, correlationId: string, json: string): JsonObject {
  if (protocolVersion !== "0.0") violated("protocol version", "is not 0.0");
  if (!UUID.test(correlationId)) violated("correlation id", "is not a UUID");
  if (!parsesToObject(json)) violated("request", "is not a JSON object");
  return JSON.parse(json);
}

/** The request of each method; those of other methods may be any object. */
export function checkRequest(member: string, request: JsonObject, sender: Sender): void {
  if (sender.startsWith("himmelblau")) return checkHimmelblauRequest(member, request, sender);
  switch (member) {
    case "acquireTokenSilently":
      return checkAuthParameters(request, sender, { authorizationType: is(1) });
    case "acquireTokenInteractively":
      checkAuthParameters(request, sender, { authorizationType: is(6) });
      return checkWindow(request);
    case "acquirePrtSsoCookie":
      checkKeys("", request, { account: isAccount, mamEnrollment: isBoolean, ssoUrl: isUrl });
      return checkAuthParameters(request, sender, { authorizationType: is(8), ssoUrl: is(request.ssoUrl) });
    case "getAccounts":
      return checkKeys("", request, { clientId: isFilled, redirectUri: isFilled });
    case "removeAccount":
      return checkKeys("", request, { clientId: isFilled, account: isAccount });
    case "generateSignedHttpRequest":
      checkKeys("", request, { clientId: isFilled, popParams: isObject });
      return checkKeys("popParams.", request.popParams, { ...POP_PARAMETERS, homeAccountId: isFilled });
    case "cancelInteractiveFlow":
      checkKeys("", request, { error: isObject });
      return checkKeys("error.", request.error, {
        context: isString,
        status: is(WIRE_STATUS.userCanceled),
        subStatus: isNumber,
        errorCode: isNumber,
        tag: isNumber,
        diagnostics: is(null),
      });
    case "getLinuxBrokerVersion":
      return checkKeys("", request, { msalCppVersion: isFilled });
  }
}

/** himmelblau reads little of a request, and does not miss the rest. */
function checkHimmelblauRequest(member: string, { account, authParameters }: JsonObject, sender: Sender): void {
  if (member === "acquirePrtSsoCookie" && !(isObject(account) && isFilled(account.username))) missingField("account");
  if (!member.startsWith("acquireToken")) return;
  if (!isObject(authParameters)) missingField("authParameters");
  if (!isScopeList(authParameters.requestedScopes)) missingField("requestedScopes");
  if (sender === "himmelblau-4.0" && authParameters.redirectUri !== REDIRECT_URI) {
    throw new Refusal(WIRE_STATUS.unexpected, "Invalid redirectUri");
  }
}

function missingField(name: string): never {
  throw new Refusal(WIRE_STATUS.unexpected, `missing field \`${name}\``);
}

function checkAuthParameters(request: JsonObject, sender: Sender, more: Rules): void {
  checkKeys("", request, { authParameters: isObject });
  const parameters = request.authParameters as JsonObject;
  checkKeys("authParameters.", parameters, { ...AUTH_PARAMETERS, ...more });
  if (parameters.popParams) checkKeys("authParameters.popParams.", parameters.popParams, POP_PARAMETERS);
  if ((parameters.account === null) !== (parameters.isSignIn === true)) {
    violated("authParameters.isSignIn", "goes with an account of null, and only with that");
  }
  const reserved = (parameters.requestedScopes as unknown[]).filter((scope) => RESERVED_SCOPES.includes(scope));
  if (reserved.length === 0) return;
  if (sender === "microsoft-3.0.1") {
    throw new Refusal(WIRE_STATUS.contractViolation, `declined scopes: ${reserved.join(" ")}`);
  }
  violated("authParameters.requestedScopes", `has the reserved ${reserved.join(" ")}`);
}

function checkWindow(request: JsonObject): void {
  const parameters = request.authParameters as JsonObject;
  if (parameters.account && parameters.username === "") {
    violated("authParameters.username", "is empty beside an account");
  }
  if (isFilled(request.parentWindowExportedHandle)) return; // Wayland
  checkKeys("", request, { parentWindowHandle: isNumber });
  checkKeys("authParameters.", parameters, { parentWindow: isObject });
  checkKeys("authParameters.parentWindow.", parameters.parentWindow, { handle: is(request.parentWindowHandle) });
}

function checkKeys(prefix: string, object: unknown, rules: Rules): void {
  for (const [key, rule] of Object.entries(rules)) {
    const value = (object as JsonObject)[key];
    if (value === undefined) violated(prefix + key, "is missing");
    if (!rule(value)) violated(prefix + key, `cannot be ${JSON.stringify(value)}`);
  }
}

function violated(key: string, how: string): never {
  throw new Refusal(WIRE_STATUS.contractViolation, `${key} ${how}`);
}

function parsesToObject(json: string): boolean {
  try {
    return isObject(JSON.parse(json));
  } catch {
    return false;
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
