// Cookies that a person's browser keeps, and that nobody but the app can read or make: AES-GCM with the app's own secret.

/** A cookie of an app. */
export interface SealedCookie {
  /** Its value in a request; `undefined` when there is none, it is too old, or somebody else made it. */
  read(request: Request): Promise<unknown>;
  /** The `Set-Cookie` header that stores a value, which has to be JSON. */
  write(value: unknown): Promise<string>;
  /** The `Set-Cookie` header that takes it away. */
  readonly clear: string;
}

/** What a cookie is made of. */
export interface SealedCookieOptions {
  /** What it is called. One cookie's value does not pass for another's. */
  readonly name: string;
  /** 32 random bytes or more, as text that only the app knows. */
  readonly secret: string;
  /** How long it lasts, in seconds. */
  readonly maxAge: number;
  /** Whether the app is reached by https. */
  readonly isSecure: boolean;
}

const IV_BYTES = 12;

/** Makes a cookie that scripts cannot read and that other sites' forms and pictures do not send. */
export function sealedCookie({ name, secret, maxAge, isSecure }: SealedCookieOptions): SealedCookie {
  if (secret.length < 32) throw new TypeError("The secret has to be 32 characters or more");
  // With this prefix no subdomain can put a cookie of its own in the place of the app's.
  const fullName = isSecure ? `__Host-${name}` : name;
  const attributes = `Path=/; HttpOnly; SameSite=Lax${isSecure ? "; Secure" : ""}`;
  const additionalData = new TextEncoder().encode(name);

  async function key(): Promise<CryptoKey> {
    const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret));
    return await crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
  }

  return {
    async read(request) {
      const cookies = (request.headers.get("cookie") ?? "").split("; ");
      const sealed = cookies.find((cookie) => cookie.startsWith(`${fullName}=`))?.slice(fullName.length + 1);
      if (!sealed) return undefined;
      try {
        const bytes = Uint8Array.from(atob(sealed), (character) => character.charCodeAt(0));
        const algorithm = { name: "AES-GCM", iv: bytes.subarray(0, IV_BYTES), additionalData };
        const text = await crypto.subtle.decrypt(algorithm, await key(), bytes.subarray(IV_BYTES));
        const { value, until } = JSON.parse(new TextDecoder().decode(text));
        return Date.now() < until ? value : undefined;
      } catch {
        return undefined; // not of this app, or of an earlier secret
      }
    },
    async write(value) {
      const text = new TextEncoder().encode(JSON.stringify({ value, until: Date.now() + maxAge * 1000 }));
      const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES));
      const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData }, await key(), text);
      const characters = String.fromCharCode(...iv, ...new Uint8Array(sealed));
      return `${fullName}=${btoa(characters)}; Max-Age=${maxAge}; ${attributes}`;
    },
    clear: `${fullName}=; Max-Age=0; ${attributes}`,
  };
}
