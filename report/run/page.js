(function () {
  "use strict";
  var plots = JSON.parse(document.getElementById("plots").textContent);
  var options = { displayModeBar: false, responsive: true };
  function fit(width) {
    // Plotly writes widths in pixels; paper has another width than the screen.
    Object.keys(plots).forEach(function (name) {
      var place = document.getElementById("plot-" + name);
      Plotly.relayout(place, width === null ? { autosize: true } : { width: width });
    });
  }
  Object.keys(plots).forEach(function (name) {
    var place = document.getElementById("plot-" + name);
    Plotly.newPlot(place, plots[name].data, plots[name].layout, options);
  });
  window.addEventListener("beforeprint", function () { fit(680); });
  window.addEventListener("afterprint", function () {
    Object.keys(plots).forEach(function (name) { delete document.getElementById("plot-" + name).layout.width; });
    fit(null);
  });
})();
