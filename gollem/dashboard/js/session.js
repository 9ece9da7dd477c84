// Who is signed in. The key stays in this tab: it is in its session storage, and nowhere else.
const KEY = "gollem-key";

export const session = {
  account: "",
  role: "",
  keyId: "",
  get key() {
    return sessionStorage.getItem(KEY) || "";
  },
  begin(key) {
    sessionStorage.setItem(KEY, key);
  },
  /** What the exchange said of the key. */
  know({ account, role, keyId }) {
    Object.assign(this, { account, role, keyId });
  },
  end() {
    sessionStorage.removeItem(KEY);
    this.know({ account: "", role: "", keyId: "" });
  },
};
