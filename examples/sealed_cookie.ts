// Encrypted cookies in a person's browser. Only the app can read or make them: AES-GCM with the app's own secret.

/** An encrypted cookie of an app. */
export interface SealedCookie {
  /** Returns its value in a request, or `undefined` if it is missing, expired, or not made by the app. */
  read(request: Request): Promise<unknown>;
  /** Returns the `Set-Cookie` header that stores a value. The value must be JSON. */
  write(value: unknown): Promise<string>;
  /** The `Set-Cookie` header that removes it. */
  readonly clear: string;
}

/** Options of {@linkcode sealedCookie}. */
export interface SealedCookieOptions {
  /** The name. The value of one cookie is not valid for another name. */
  readonly name: string;
  /** A secret of the app: at least 32 random bytes, as text. */
  readonly secret: string;
  /** Lifetime in seconds. */
  readonly maxAge: number;
  /** True if people reach the app by https. */
  readonly isSecure: boolean;
}

const IV_BYTES = 12;

/** Creates a cookie that scripts cannot read, and that browsers do not send with forms and images of other sites. */
export function sealedCookie({ name, secret, maxAge, isSecure }: SealedCookieOptions): SealedCookie {
  if (secret.length < 32) throw new TypeError("The secret has to be 32 characters or more");
  // With this prefix no subdomain can replace the app's cookie with its own.
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
        return undefined; // made by another app, or with an earlier secret
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
