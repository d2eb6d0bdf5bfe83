// Sets the theme that was chosen, before the first paint. A classic script: modules run too late for that.
'use strict';
try {
  const theme = localStorage.getItem('jobengine.theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's theme does then.
}
